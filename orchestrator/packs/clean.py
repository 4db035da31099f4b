"""Text as it may be given to others: without passwords, tokens and the home folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

HIDDEN = "(removed)"

_IN_ADDRESS = re.compile(r"(?<=://)[^\s/@'\"]+@")  # USER:PASSWORD@HOST, also a token alone
_SECRET = r"[\w-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key)[\w-]*"
_NAME = re.compile(_SECRET, re.IGNORECASE)
_NAMED = re.compile(rf"(\b{_SECRET}[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]+", re.IGNORECASE)


def cleaned(text: str, home: Path | None) -> str:
    """The text with secrets hidden, and `~` for the home folder.

    Secrets are what stands before the @ of an address, and what is given to a name that speaks of
    a password, secret, token or key.
    """
    text = _IN_ADDRESS.sub("", text)
    text = _NAMED.sub(rf"\g<1>{HIDDEN}", text)
    if home is None or home == home.parent:  # that of a user without one is often /
        return text
    return re.sub(rf"{re.escape(str(home))}(?![\w.-])", "~", text)


def cleaned_values(values: Any, home: Path | None) -> Any:
    """Plain values with all texts in them cleaned, and those hidden whose keys name a secret."""
    if isinstance(values, str):
        return cleaned(values, home)
    if isinstance(values, list | tuple):
        return [cleaned_values(value, home) for value in values]
    if isinstance(values, dict):
        return {
            key: HIDDEN
            if isinstance(value, str) and _NAME.fullmatch(str(key))
            else cleaned_values(value, home)
            for key, value in values.items()
        }
    return values
