"""Figures and lists as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NAMED = 6  # members of a list that are named, before "and N more"


def score(value: float | None) -> str:
    """An H-mean with four decimals; a hyphen for none."""
    return "-" if value is None else f"{value:.4f}"


def plain(value: Any) -> str:
    """A setting's value; nothing for one that does not apply."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """`1 trial`, `2 trials`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """`a`, `a and b`, `a, b and 3 more`."""
    shown = list(names[:most])
    more = len(names) - len(shown)
    if more:
        return f"{', '.join(shown)} and {more} more"
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
