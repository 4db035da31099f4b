r"""ICDAR 2013: a text file an image, `left top right bottom "text"` a line, with blanks or commas.

The text is all between the first quote sign and the last; a backslash stands before quote signs
and backslashes in it. There is no don't-care mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.number_lines import NUMBER, mostly, page_of
from detector.data.raw.shapes import box_of_corners

SUFFIXES = (".txt",)
_PART = r"(?:\s*,\s*|\s+)"
_BOX = re.compile(
    rf'\s*({NUMBER}){_PART}({NUMBER}){_PART}({NUMBER}){_PART}({NUMBER})(?:{_PART}"(.*)"|)\s*',
    re.ASCII,
)


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    return mostly(file, _has_text)


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    page = page_of(file)
    for _, line in file.lines:
        if box := _BOX.fullmatch(line):
            page.add(box_of_corners(*box.groups()[:4]), box[5] and _unescaped(box[5]))
        else:
            page.add(line)
    yield page


def _has_text(line: str) -> bool:
    box = _BOX.fullmatch(line) if '"' in line else None
    return box is not None and box[5] is not None


def _unescaped(text: str) -> str:
    return re.sub(r'\\(["\\])', r"\1", text)
