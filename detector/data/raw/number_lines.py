"""Label files with a word a line that begins with numbers, and the image beside such a file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import shapely

from detector.core.errors import InputError
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import numbers, pairs

_UNSIGNED = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
NUMBER = rf"[+-]?{_UNSIGNED}"
# Coordinates that are not finite are read too: the others of the line still say where text is.
_VALUE = rf"[+-]?(?:{_UNSIGNED}|(?ai:nan|inf(?:inity)?))"
# What competitions put before the name of the image.
_PREFIXES = ("poly_gt_", "gt_", "res_")
# Fractions of a page reach a little beyond it where a word is cut by its edge.
_LEAST, _MOST = -0.1, 1.1
# So many numbers after a quadrilateral are hardly its text.
_SURELY_OUTLINE = 16
# Opposite sides of a word's four corners differ by less, but for steep perspective; those of an
# outline's first four points by more.
_SIDES = 1.7
# The share of its hull that an outline encloses at least; numbers of a text make a spike of it.
_FILLED = 0.65
# How far from the first four points the others are at most, in diagonals of those.
_REACH = 1.1


def page_of(file: LabelFile) -> Labelled:
    """A page without words yet, of the image that has the name of its label file.

    A name that exists counts as it stands before it counts without `gt_`, `res_`, `poly_gt_`.
    """
    name = file.name.with_suffix("").name
    bare = [name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)]
    return Labelled(name, others=tuple(filter(None, bare)))


def mostly(file: LabelFile, is_word: Callable[[str], bool]) -> bool:
    """Whether at least half of the lines are words; so they are of a file without lines."""
    left = (len(file.lines) + 1) // 2  # words that are yet to be found
    spare = len(file.lines) - left
    for _, line in file.lines if left else ():
        if is_word(line):
            left -= 1
        else:
            spare -= 1
        if left == 0 or spare < 0:
            break
    return left == 0


def leading_numbers(line: str, separator: str | None = ",") -> list[float]:
    """The numbers that a line begins with; None parts at blanks."""
    found = _leading(separator).match(line)
    fields = [] if found is None else found[0].split(separator)
    try:
        return [*map(float, fields)]
    except ValueError:  # float() knows fewer kinds of blanks
        return [float(field.strip()) for field in fields]


def begins_with_numbers(line: str, count: int) -> bool:
    """Whether a line begins with so many numbers between commas, or more."""
    return _leading(",", count).match(line) is not None


@cache
def _leading(separator: str | None, least: int = 1) -> re.Pattern[str]:
    """What matches as many whole fields of one number each as a line begins with."""
    if separator is None:
        return re.compile(rf"\s*{_VALUE}(?:\s+{_VALUE})*(?!\S)")
    field = rf"[^\S{separator}]*{_VALUE}[^\S{separator}]*"
    further = f"*(?={separator}|$)" if least == 1 else f"{{{least - 1}}}(?={separator}|$)"
    return re.compile(rf"{field}(?:{separator}{field}){further}")


def is_outline(numbers: list[float]) -> bool:
    """Whether the numbers after the eighth go on with an outline."""
    if len(numbers) < 10 or not all(map(math.isfinite, numbers)):
        return False
    points = pairs(numbers[: len(numbers) // 2 * 2])
    sides = [math.dist(points[i], points[(i + 1) % 4]) for i in range(4)]
    lengths = [sorted(sides[i::2]) for i in range(2)]
    if len(numbers) >= _SURELY_OUTLINE or any(b > a * _SIDES for a, b in lengths):
        return True
    diagonal = max(math.dist(points[i], points[i + 2]) for i in range(2))
    for axis in range(2):  # most texts name a point far away, which is told without geometry
        known, further = ([point[axis] for point in part] for part in (points[:4], points[4:]))
        room = max(min(known) - min(further), max(further) - max(known))
        if room > diagonal * _REACH:
            return False
    ring, hull = shapely.Polygon(points), shapely.MultiPoint(points[:4]).convex_hull
    filled = ring.is_valid and ring.area >= ring.convex_hull.area * _FILLED
    distance = shapely.distance(hull, shapely.points(points[4:])).max()
    return bool(filled and distance <= diagonal * _REACH)


def text_after(line: str, count: int) -> str | None:
    """All that follows the first `count` fields between commas; None for no further comma.

    The blank of a line that has one after every comma belongs to the comma.
    """
    fields = line.split(",", count)
    if len(fields) <= count:
        return None
    spaced = fields[-1].startswith(" ") and all(field.startswith(" ") for field in fields[1:])
    return fields[count][1:] if spaced else fields[count]


def is_dont_care(text: str | None) -> bool:
    """Whether a text is `###`, in quotes or not."""
    return text is not None and "###" in text and text.strip().strip('"') == "###"


def fractions(line: str) -> list[float] | None:
    """The numbers after the class in a line of YOLO's; None when it is none of them."""
    fields = [] if "," in line else line.split()
    values = numbers(fields) if len(fields) > 4 else None
    if not values or values[0] < 0 or values[0] != int(values[0]):
        return None
    rest = values[1:]
    return rest if rest and all(_LEAST <= value <= _MOST for value in rest) else None


def has_fractions(file: LabelFile, count: int) -> bool:
    """Whether most lines have so many numbers of YOLO's, perhaps with a confidence behind."""
    return mostly(file, lambda line: len(fractions(line) or ()) in (count, count + 1))


def page_of_fractions(
    file: LabelFile, count: int, other: int, has: str, outline: Callable[[list[float]], Any]
) -> Labelled:
    """The page of a file whose lines have `count` numbers of YOLO's, which make an outline.

    Confidences behind them are counted as left out. InputError for a line with `other` numbers,
    which is of another kind than what the file `has`.
    """
    page = page_of(file)
    page.unit = "fraction"
    for number, line in file.lines:
        values = fractions(line) or []
        if len(values) in (other, other + 1):
            raise InputError(
                f"{file.path}: line {number} has {len(values) + 1} columns, but the file has "
                f"{has}; write boxes or four corners, not both"
            )
        if len(values) not in (count, count + 1):
            page.add(line)
            continue
        page.left_out.update(["confidence"] * (len(values) - count))
        page.add(outline(values[:count]))
    return page
