"""Commands that are printed for people to paste."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def command(
    module: str, arguments: Mapping[str, Any], *, variables: Mapping[str, str] | None = None
) -> str:
    """`python -m module key=value …`, as a POSIX shell takes it: blanks, `&` or `[` are quoted.

    Values are written as commands read them: `true`, `null`, `[a,b]`. `variables` are those of the
    environment, before the command.
    """
    words = [f"{key}={_value(value)}" for key, value in arguments.items()]
    before = [f"{key}={shlex.quote(value)}" for key, value in (variables or {}).items()]
    return " ".join([*before, shlex.join(["python", "-m", module, *words])])


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_value, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
