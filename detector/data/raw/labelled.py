"""An image with its words as a label file has them, whatever its format."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from detector.data.page.pdf import SUFFIX, page_name
from detector.data.raw.shapes import numbers

Unit = Literal["pixel", "fraction"]


@dataclass
class Labelled:
    """One image and its words, unchecked: what is wrong with them is told when they are checked.

    image: as the file names it: a name or a path, also one of another machine, with `/`.
    others: names to try, in order, where there is no such image.
    words: raw words by id in the order of the file, as the native format has them:
        `points` (a list of `[x, y]`), `transcription`, `ignore`, `language`, `orientation`.
    size: width and height of the image as the file says them, as they stand there.
    unit: of the points: pixels, or fractions of the width and height of the upright image.
    left_out: how many things are no words to find, by what they are ("group", "polyline").
    labelled: False where nobody has looked for words, which is not a page without any.
    faults: what only the reader can see: id of the word or None, kind (as in
        `detector.data.labels.pages.KINDS`), message.
    """

    image: str
    others: tuple[str, ...] = ()
    words: dict[str, Any] = field(default_factory=dict)
    size: tuple[Any, Any] | None = None
    unit: Unit = "pixel"
    left_out: Counter[str] = field(default_factory=Counter)
    labelled: bool = True
    faults: list[tuple[str | None, str, str]] = field(default_factory=list)

    def add(
        self,
        points: Any,
        text: Any = None,
        *,
        ignore: Any = False,
        language: Any = None,
        orientation: Any = None,
    ) -> None:
        """Add the next word; it is numbered in file order, from `0001` on."""
        word = {"points": points, "transcription": text, "ignore": ignore}
        if language is not None:
            word["language"] = language
        if orientation is not None:
            word["orientation"] = orientation
        self.words[f"{len(self.words) + 1:04d}"] = word


def by_stem(label: PurePosixPath, number: int = 1, count: int = 1) -> Labelled:
    """A page without words yet whose image has the stem of its label file.

    Of a file about `count` pages each has its own image, called after its number as programs
    that part documents do, or is one of a PDF; the first may also have the stem alone.
    """
    stem = str(label.with_suffix(""))
    if count <= 1:
        return Labelled(stem)
    digits = dict.fromkeys(str(number).zfill(width) for width in range(1, 5))
    parted = [f"{stem}{mark}{digit}" for mark in "-_" for digit in digits]
    names = (*parted, page_name(stem + SUFFIX, number))
    return Labelled(stem, names) if number == 1 else Labelled(names[0], names[1:])


def size_of(width: Any, height: Any) -> tuple[Any, Any] | None:
    """The size of an image, text as numbers; None where not both are told."""
    if width is None or height is None:
        return None
    found = numbers([width, height])
    return (width, height) if found is None else (found[0], found[1])


def bad_page(image: Any, rule: str, value: Any, kind: str = "bad-page") -> Labelled:
    """A page that is told and not used, for what stands where a page or its words should."""
    fault = (None, kind, f"{rule}, got {type(value).__name__}")
    return Labelled(image_name(image), labelled=False, faults=[fault])


def image_name(value: Any) -> str:
    """A name or path of an image, with `/` wherever it was written."""
    return "" if value is None else str(value).replace("\\", "/")
