"""Label files with a word a line that begins with numbers, and the image beside such a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import takewhile

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import numbers

NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
# Coordinates that are not finite are read too: the others of the line still say where text is.
_NUMBER = re.compile(rf"{NUMBER}|[+-]?(?:nan|inf(?:inity)?)", re.ASCII | re.IGNORECASE)
# What competitions put before the name of the image.
_PREFIXES = ("poly_gt_", "gt_", "res_")
# Fractions of a page reach a little beyond it where a word is cut by its edge.
_LEAST, _MOST = -0.1, 1.1


def page_of(file: LabelFile) -> Labelled:
    """A page without words yet, of the image that has the name of its label file.

    A name that exists counts as it stands before it counts without `gt_`, `res_`, `poly_gt_`.
    """
    name = file.name.with_suffix("").name
    bare = [name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)]
    return Labelled(name, others=tuple(filter(None, bare)))


def mostly(file: LabelFile, is_word: Callable[[str], bool]) -> bool:
    """Whether at least half of the lines are words; so they are of a file without lines."""
    found = [is_word(line) for _, line in file.lines]
    return 2 * sum(found) >= len(found)


def leading_numbers(line: str, separator: str | None = ",") -> list[float]:
    """The numbers that a line begins with; None parts at blanks."""
    return [*_leading_numbers(line, separator)]


@lru_cache(maxsize=1024)  # several formats look at the lines of a file, and then one reads them
def _leading_numbers(line: str, separator: str | None) -> tuple[float, ...]:
    fields = takewhile(_NUMBER.fullmatch, map(str.strip, line.split(separator)))
    return tuple(map(float, fields))


def text_after(line: str, count: int) -> str | None:
    """All that follows the first `count` fields between commas; None for no further comma.

    The blank of a line that has one after every comma belongs to the comma.
    """
    fields = line.split(",", count)
    if len(fields) <= count:
        return None
    spaced = all(field.startswith(" ") for field in fields[1:])
    return fields[count][1:] if spaced else fields[count]


def is_dont_care(text: str | None) -> bool:
    """Whether a text is `###`, in quotes or not."""
    return text is not None and text.strip().strip('"') == "###"


def fractions(line: str) -> list[float] | None:
    """The numbers after the class in a line of YOLO's; None when it is none of them."""
    values = numbers(line.split())
    if not values or values[0] < 0 or values[0] != int(values[0]):
        return None
    rest = values[1:]
    return rest if rest and all(_LEAST <= value <= _MOST for value in rest) else None
