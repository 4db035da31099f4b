"""An image with its words as a label file has them, whatever its format."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

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
    """

    image: str
    others: tuple[str, ...] = ()
    words: dict[str, Any] = field(default_factory=dict)
    size: tuple[Any, Any] | None = None
    unit: Unit = "pixel"
    left_out: Counter[str] = field(default_factory=Counter)

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
        more = {"language": language, "orientation": orientation}
        word |= {key: value for key, value in more.items() if value is not None}
        self.words[f"{len(self.words) + 1:04d}"] = word
