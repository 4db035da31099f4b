"""What a line of a label file that no format claims looks like, by the numbers that begin it."""

from __future__ import annotations

import re

from detector.data.raw.number_lines import NUMBER, fractions, leading_numbers

#: The lines that are read.
LAYOUTS = (
    "x1,y1,...,x4,y4,text",
    'left top right bottom "text"',
    "class x y width height (fractions)",
    "class x1 y1 ... x4 y4 (fractions)",
)
_BRACKETS = re.compile(rf"\s*[\[(]+\s*{NUMBER}\s*,", re.ASCII)
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", None: "blanks"}


def line_layout(line: str) -> str | None:
    """The layout of a line that is none of them, in words; None when numbers do not begin it."""
    if _BRACKETS.match(line):
        return "points in brackets"
    found = {separator: len(leading_numbers(line, separator)) for separator in _SEPARATORS}
    separator = max(found, key=lambda key: found[key])
    count, marks = found[separator], _SEPARATORS[separator]
    if count < 4 or (count >= 8 and separator == ","):
        return None
    if separator is None and len(fractions(line) or ()) >= 6:
        return "class x1 y1 ... xn yn (fractions), outlines of YOLO segmentation"
    if count == 4:
        return f"left,top,right,bottom,text between {marks}"
    if count >= 8:
        return f"x1,y1,...,x4,y4,text between {marks}"
    return f"{count} numbers between {marks}"
