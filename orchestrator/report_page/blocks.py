"""What a section is made of. Plain values: the page escapes every text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


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
