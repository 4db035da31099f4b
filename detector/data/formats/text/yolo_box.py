"""YOLO boxes: a text file an image, `class x y width height` a line, of the centre.

All are fractions of the upright image; there are no texts. A sixth number is the confidence of
a prediction: such lines are words too, and how many had one is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.number_lines import has_fractions, page_of_fractions
from detector.data.raw.shapes import box_of_size

SUFFIXES = (".txt",)


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    return has_fractions(file, 4)


def read(file: LabelFile) -> Iterator[Labelled]:
    """The image of the file with its words. InputError for turned boxes among the lines."""
    yield page_of_fractions(file, 4, 8, "boxes (class x y width height)", _box)


def _box(values: list[float]) -> Any:
    x, y, width, height = values
    return box_of_size(x - width / 2, y - height / 2, width, height)
