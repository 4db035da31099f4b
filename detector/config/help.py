"""`--help`, made from the settings: each key with its default, range, unit and meaning."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from detector.config.answer import NOTE

WIDTH = 88  # columns at most; a narrower terminal gets narrower lines
# What the last word of a key's name is measured in.
UNITS = {
    "px": "pixels",
    "deg": "degrees",
    "gb": "GB",
    "ms": "milliseconds",
    "s": "seconds",
    "minutes": "minutes",
    "hours": "hours",
    "epochs": "epochs",
}


def help_text(
    settings: type[BaseModel], *, program: str, description: str, width: int | None = None
) -> str:
    """The page for a command: every key with its default, meaning, range or choices, and unit.

    `width` is in columns; None is that of the terminal, `WIDTH` at most.
    """
    width = min(WIDTH, shutil.get_terminal_size().columns) if width is None else width
    lines = [f"usage: {program} [--json] key=value ...", ""]
    lines += [*textwrap.wrap(description, width), "", *textwrap.wrap(NOTE, width), ""]
    section = None
    for key, info in keys(settings):
        group = key.rpartition(".")[0]
        if group != section:
            lines += ["", f"{group}:"] if group else []
            section = group
        lines += textwrap.wrap(
            f"{key}={_default(info)}", width, initial_indent="  ", subsequent_indent=" " * 8
        )
        note = "; ".join(part for part in (info.description or "", rule(key, info)) if part)
        lines += textwrap.wrap(note, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key as it is typed, by dotted name: plain ones first, then those of the sections."""
    sections = []
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            sections.append((name, info.annotation))
        else:
            yield prefix + (info.alias or name), info
    for name, section in sections:
        yield from keys(section, f"{prefix}{name}.")


def rule(key: str, info: FieldInfo) -> str:
    """What a value must be: `one of a | b`, `0 < value <= 1`, `value >= 64 pixels`."""
    allowed = _allowed(info.annotation, info.metadata)
    unit = UNITS.get(key.rpartition(".")[2].rpartition("_")[2])
    return f"{allowed}, {unit}" if unit and allowed else allowed or unit or ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "(required)"
    return _typed(info.get_default(call_default_factory=True))


def _typed(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_typed, value))}]"
    return "null" if value is None else str(value)


def _allowed(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _allowed(inner[0], [*metadata, *_constraints(inner[1:])])
    if origin in (Union, UnionType):
        kinds = [a for a in inner if a is not type(None)]
        rules = [_allowed(kind, metadata) for kind in kinds]
        if Path in kinds[1:]:
            rules[kinds.index(Path)] = "a path"
        return " or ".join(filter(None, rules))
    if origin is Literal:
        return f"one of {' | '.join(map(_typed, inner))}" if len(inner) > 1 else _typed(inner[0])
    if annotation is bool:
        return "true or false"
    if origin in (list, tuple):
        each = _allowed(inner[0])
        return f"each {each}" if each else ""
    return _range(metadata)


def _constraints(metadata: Sequence[Any]) -> list[Any]:
    """Annotations of a type, those inside a `Field(...)` among them."""
    found: list[Any] = []
    for item in metadata:
        found += item.metadata if isinstance(item, FieldInfo) else [item]
    return found


def _range(metadata: Sequence[Any]) -> str:
    """`0 < value <= 1`, or nothing for a value without bounds."""
    limits: dict[str, Any] = {}
    for item in metadata:
        names = ("gt", "ge", "lt", "le", "multiple_of")
        limits |= {n: getattr(item, n) for n in names if getattr(item, n, None) is not None}
    low = {"gt": "<", "ge": "<="}
    high = {"lt": "<", "le": "<="}
    below = next((f"{limits[n]} {sign} " for n, sign in low.items() if n in limits), "")
    above = next((f" {sign} {limits[n]}" for n, sign in high.items() if n in limits), "")
    text = f"{below}value{above}" if below or above else ""
    if "multiple_of" in limits:
        text += f", a multiple of {limits['multiple_of']}"
    return text
