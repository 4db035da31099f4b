"""YOLO boxes: a text file an image, `class x y width height` a line, of the centre.

All are fractions of the upright image; there are no texts. A sixth number is the confidence of
a prediction: such lines are words too, and how many had one is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from detector.core.errors import InputError
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.number_lines import fractions, mostly, page_of
from detector.data.raw.shapes import box_of_size

SUFFIXES = (".txt",)


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    return mostly(file, lambda line: len(fractions(line) or ()) in (4, 5))


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words. InputError for turned boxes among the lines."""
    page = page_of(file)
    page.unit = "fraction"
    for number, line in file.lines:
        values = fractions(line) or []
        if len(values) in (8, 9):
            raise InputError(
                f"{file.path}: line {number} has {len(values) + 1} columns, but the file has boxes "
                "(class x y width height); write boxes or four corners, not both"
            )
        if len(values) not in (4, 5):
            page.add(line)
            continue
        page.left_out.update(["confidence"] * (len(values) - 4))
        x, y, width, height = values[:4]
        page.add(box_of_size(x - width / 2, y - height / 2, width, height))
    yield page
