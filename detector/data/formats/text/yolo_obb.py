"""YOLO turned boxes: a text file an image, `class x1 y1 x2 y2 x3 y3 x4 y4` a line.

All are fractions of the upright image; there are no texts. A tenth number is the confidence of
a prediction: such lines are words too, and how many had one is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from detector.core.errors import InputError
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.number_lines import fractions, mostly, page_of
from detector.data.raw.shapes import pairs

SUFFIXES = (".txt",)


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    return mostly(file, lambda line: len(fractions(line) or ()) in (8, 9))


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words. InputError for upright boxes among the lines."""
    page = page_of(file)
    page.unit = "fraction"
    for number, line in file.lines:
        values = fractions(line) or []
        if len(values) in (4, 5):
            raise InputError(
                f"{file.path}: line {number} has {len(values) + 1} columns, but the file has four "
                "corners (class x1 y1 ... x4 y4); write boxes or four corners, not both"
            )
        if len(values) not in (8, 9):
            page.add(line)
            continue
        page.left_out.update(["confidence"] * (len(values) - 8))
        page.add(pairs(values[:8]))
    yield page
