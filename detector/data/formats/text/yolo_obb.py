"""YOLO turned boxes: a text file an image, `class x1 y1 x2 y2 x3 y3 x4 y4` a line.

All are fractions of the upright image; there are no texts. A tenth number is the confidence of
a prediction: such lines are words too, and how many had one is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.number_lines import has_fractions, page_of_fractions
from detector.data.raw.shapes import pairs

SUFFIXES = (".txt",)


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    return has_fractions(file, 8)


def read(file: LabelFile) -> Iterator[Labelled]:
    """The image of the file with its words. InputError for upright boxes among the lines."""
    yield page_of_fractions(file, 8, 4, "four corners (class x1 y1 ... x4 y4)", pairs)
