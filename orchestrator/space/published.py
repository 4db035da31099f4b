"""Scores that others published for points of a space, and how they compare with a run's.

In a space file they stand with the point that they belong to, under keys that are no settings:
`published.row` (which result this is, in a few words), `published.hmean`,
`published.precision` and `published.recall`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

PREFIX = "published."
FIGURES = ("hmean", "precision", "recall")
KEYS = tuple(f"{PREFIX}{name}" for name in ("row", *FIGURES))


@dataclass(frozen=True)
class Published:
    """One published result: searched settings by dotted name, and its scores in [0, 1]."""

    point: dict[str, Any]
    hmean: float
    precision: float
    recall: float
    row: str  # what was published, in a few words

    def to_plain(self) -> dict[str, Any]:
        """The point with its figures, as the space file writes it."""
        figures = {f"{PREFIX}{name}": getattr(self, name) for name in FIGURES}
        return {f"{PREFIX}row": self.row, **figures, **self.point}


def settings_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a point of a space file sets, without what was published for it."""
    return {key: value for key, value in given.items() if not key.startswith(PREFIX)}


def read_published(
    given: Mapping[str, Any],
    point: Mapping[str, Any],
    held: Mapping[str, Any],
    places: Mapping[str, str],
    faults: list[str],
) -> Published | None:
    """What a space file says was published for a point; None without that or with a fault.

    `held` are settings of the point that this space fixes at another value: the row's text
    tells them. `places` are the keys' places in the file; faults are added to the list.
    """
    keys = [key for key in given if key.startswith(PREFIX)]
    if not keys:
        return None
    found = [f"{places[key]}: {fault}" for key in keys if (fault := _fault(key, given[key]))]
    missing = ", ".join(key for key in KEYS if key not in given)
    if missing:
        found.append(
            f"{places[keys[0]]}: {keys[0]}: figures are published together; add {missing}, "
            "or remove them all"
        )
    if not settings_of(given):
        found.append(f"{places[keys[0]]}: {keys[0]}: belongs to no setting; add the point's")
    faults += found
    if found or not point:
        return None
    told = ", ".join(f"{key}={value}" for key, value in held.items())
    row = given[f"{PREFIX}row"] + (f" (here {told})" if told else "")
    figures = {name: float(given[f"{PREFIX}{name}"]) for name in FIGURES}
    return Published(dict(point), row=row, **figures)


def _fault(key: str, value: Any) -> str | None:
    if key not in KEYS:
        near = get_close_matches(key.removeprefix(PREFIX), ("row", *FIGURES), n=1)
        hint = f"did you mean {PREFIX}{near[0]}?" if near else f"valid: {', '.join(KEYS)}"
        return f"{key}: unknown key; {hint}"
    if key == f"{PREFIX}row":
        if isinstance(value, str) and value.strip() and value.isprintable():
            return None
        return f"{key}: must be a line of text that says what was published, got {value!r}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and 0 <= value <= 1:
        return None
    return f"{key}: must be a score from 0 to 1 (per cent divided by 100), got {value!r}"
