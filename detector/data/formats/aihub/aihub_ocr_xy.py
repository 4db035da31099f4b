"""AI Hub's OCR data (finance and logistics, public): a JSON file an image, named like it.

`bbox` is a list of words with `data`, `x` and `y`; the corners are top left, bottom left, top
right, bottom right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import points_of
from detector.data.raw.values import field, first_object, list_in

SUFFIXES = (".json",)
_CLOCKWISE = (0, 2, 3, 1)


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    content = file.json
    if not isinstance(field(content, "bbox"), list):
        return False
    word = first_object(content["bbox"])
    return {"Images", "Dataset"} <= content.keys() if word is None else {"x", "y"} <= word.keys()


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    image = field(file.json, "Images")
    size = field(image, "width"), field(image, "height")
    page = Labelled(
        file.name.with_suffix("").name,
        others=tuple(filter(None, [str(field(image, "identifier") or "")])),
        size=None if None in size else size,
    )
    for word in list_in(file, "bbox"):
        page.add(_points(word), field(word, "data"))
    yield page


def _points(word: Any) -> Any:
    xs, ys = field(word, "x"), field(word, "y")
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
        return word
    points = [[x, y] for x, y in zip(xs, ys, strict=True)]
    return points_of([points[i] for i in _CLOCKWISE] if len(points) == 4 else points)
