"""What a dataset is made of once it has been read: words, pages, faults, splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from detector.core.geometry import Points

#: Every kind of fault and what becomes of the page or word it names.
KINDS: dict[str, str] = {
    "bad-page": "page excluded",
    "bad-words": "page excluded",
    "unlabelled": "page excluded",
    "no-image": "page excluded",
    "no-annotation": "page excluded",
    "broken-image": "page excluded",
    "too-large": "page excluded",
    "truncated-image": "page excluded",
    "two-labels": "page excluded",
    "shared-label": "page excluded",
    "no-usable-words": "page excluded",
    "bad-label-file": "file left out",
    "not-understood": "file left out",
    "left-out": "no words",
    "stored-frame": "page kept",
    "name-differs": "page kept",
    "repeated-page": "page kept",
    "bad-size": "page kept",
    "size-mismatch": "page kept",
    "bad-word": "word excluded",
    "no-place": "word excluded",
    "zero-area": "word excluded",
    "outside-page": "word excluded",
    "duplicate-word": "word excluded",
    "excluded-by-list": "word excluded",
    "repeated-id": "word kept",
    "closed-outline": "word kept",
    "partly-outside": "word kept",
    "self-crossing": "word kept",
    "bad-points": "word kept as don't-care",
    "few-points": "word kept as don't-care",
    "many-points": "word kept as don't-care",
    "non-finite": "word kept as don't-care",
    "huge-coordinate": "word kept as don't-care",
    "tangled": "word kept as don't-care",
    "bad-ignore": "word kept as don't-care",
    "ignored-by-list": "word kept as don't-care",
    "added-by-list": "word kept as don't-care",
    "bad-text": "word kept",
}


@dataclass(frozen=True, eq=False)
class Word:
    """One annotated word: `points` is `(K >= 4, 2)` float32 xy in source pixels, EXIF applied.

    `text` is None when there is no transcription. `ignore` marks don't-care words: neither
    trained on nor scored.
    """

    id: str
    points: Points
    text: str | None
    ignore: bool
    languages: tuple[str, ...] = ()
    orientation: str | None = None


@dataclass(frozen=True, eq=False)
class Page:
    """One image with its words; `width` and `height` are pixels as displayed (EXIF applied)."""

    name: str
    path: Path
    width: int
    height: int
    words: tuple[Word, ...]


Item = TypeVar("Item")


def evenly_spaced(items: Sequence[Item], limit: int) -> list[Item]:
    """At most `limit` of the items, in their order, spread over all of them."""
    count = min(limit, len(items))
    return [items[i * len(items) // count] for i in range(count)]


@dataclass(frozen=True)
class Fault:
    """Something wrong with a file or word; `kind` is a key of `KINDS`."""

    file: str
    word: str | None
    kind: str
    message: str


@dataclass(frozen=True)
class Split:
    """The usable pages of a split in order of name, and all that was wrong with it."""

    name: str
    pages: tuple[Page, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class LabelRules:
    """How label files are read where they do not say it themselves.

    format: name of a format in `detector.data.formats`, or auto.
    dont_care: texts of words that are don't-care, besides each format's own.
    frame: which image the points belong to, as displayed or as stored before its EXIF turn;
        auto goes by the size that the labels give, and takes the displayed one without any.
    """

    format: str = "auto"
    dont_care: tuple[str, ...] = ()
    frame: Literal["auto", "displayed", "stored"] = "auto"


AS_FOUND = LabelRules()


@dataclass(frozen=True)
class Entry:
    """A page as annotated, unchecked: `words` maps ids to objects; None when unlabelled.

    `usable` is False for a page that already has a fault excluding it. `unit` is that of the
    points: pixels, or fractions of the upright image's width and height.
    """

    name: str
    words: dict[str, Any] | None
    size: tuple[Any, Any] | None = None
    usable: bool = True
    unit: Literal["pixel", "fraction"] = "pixel"


def fault(file: str, word: str | None, kind: str, message: str) -> Fault:
    """A fault whose message ends with what becomes of the page or word."""
    return Fault(file, word, kind, f"{message}; {KINDS[kind]}")
