"""What a section is made of, and figures and lists as people read them.

Plain values: the page escapes every text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

NAMED = 6  # members of a list that are named, before "and N more"


@dataclass(frozen=True)
class Paragraph:
    """A text; `strong` is for the one sentence that matters."""

    kind: ClassVar[str] = "paragraph"
    text: str
    strong: bool = False


@dataclass(frozen=True)
class Items:
    """A list of short texts."""

    kind: ClassVar[str] = "items"
    texts: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    kind: ClassVar[str] = "facts"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Command:
    """What to type, under a text that says what it does."""

    kind: ClassVar[str] = "command"
    label: str
    line: str


@dataclass(frozen=True)
class Cell:
    """A table's cell: its text, what it is sorted by where that is another, a marked state."""

    text: str
    value: float | str | None = None
    state: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under headers; `numeric` columns are aligned right and sorted by number.

    Rows are dealt as `rows[i][j]` for header j. `marks` are the indices of rows to stand out,
    `states` is one for each row where they can be filtered by it.
    """

    kind: ClassVar[str] = "table"
    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[int] = frozenset()
    marks: frozenset[int] = frozenset()
    states: Sequence[str] = ()
    sortable: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure of plotly, as its JSON object, with what it shows in words.

    `min_width_px` keeps it readable on a narrow screen, where it scrolls inside its box.
    """

    kind: ClassVar[str] = "chart"
    name: str
    title: str
    summary: str
    figure: dict[str, Any]
    height_px: int = 380
    min_width_px: int = 0


@dataclass(frozen=True)
class Picture:
    """An image as a data URI; `alt` says what is to be seen, `lines` are told on demand."""

    kind: ClassVar[str] = "picture"
    source: str
    title: str
    alt: str
    width: int
    height: int
    lines: Sequence[str] = ()


Block = Paragraph | Items | Facts | Command | Table | Chart | Picture


@dataclass(frozen=True)
class Section:
    """A part of the page below a heading; `anchor` is its id."""

    anchor: str
    title: str
    blocks: Sequence[Block]


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
