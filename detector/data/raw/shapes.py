"""Outlines from the ways in which label files describe them, as lists of `[x, y]`.

Corners are clockwise on the screen from the top left one. What is not made of numbers is given
back as it is, so that the check of words can show it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import shapely


def box_of_corners(left: Any, top: Any, right: Any, bottom: Any) -> Any:
    """A box by two opposite corners, in any order."""
    values = numbers([left, top, right, bottom])
    if values is None:
        return [left, top, right, bottom]
    (x0, x1), (y0, y1) = sorted(values[::2]), sorted(values[1::2])
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def box_of_size(left: Any, top: Any, width: Any, height: Any) -> Any:
    """A box by its corner with the lowest coordinates and its size."""
    values = numbers([left, top, width, height])
    if values is None:
        return [left, top, width, height]
    x, y, w, h = values
    return box_of_corners(x, y, x + w, y + h)


def box_of_sizes(box: Any) -> Any:
    """A box written as `[left, top, width, height]`."""
    return box_of_size(*box) if isinstance(box, list) and len(box) == 4 else box


def turned(outline: Any, degrees: Any, pivot: tuple[float, float]) -> Any:
    """An outline in pixels turned clockwise on the screen about a point."""
    values = numbers([degrees])
    if values is None:
        return degrees  # the outline as it stands would pass for a word
    if not isinstance(outline, list) or not are_points(outline):
        return outline
    angle = math.radians(values[0])
    cos, sin = math.cos(angle), math.sin(angle)
    moved = [(float(x) - pivot[0], float(y) - pivot[1]) for x, y in outline]
    return [[pivot[0] + x * cos - y * sin, pivot[1] + x * sin + y * cos] for x, y in moved]


def points_of(outline: Any) -> Any:
    """Points with numbers that may be written as text, as numbers."""
    return scaled(outline, 1, 1)


def scaled(outline: Any, width: float, height: float) -> Any:
    """Points with x divided by a width and y by a height."""
    if not isinstance(outline, list) or not are_points(outline):
        return outline
    return [[float(x) / width, float(y) / height] for x, y in outline]


def points_of_text(text: Any) -> Any:
    """Points of `x,y x,y`, `x,y;x,y` or `x y x y`."""
    values = numbers(re.split(r"[\s,;]+", text.strip())) if isinstance(text, str) else None
    return text if values is None else pairs(values)


def pairs(flat: Any) -> Any:
    """`[x1, y1, x2, y2, ...]` as points."""
    if not isinstance(flat, (list, tuple)) or len(flat) % 2:
        return flat
    values = iter(flat)
    return [*map(list, zip(values, values, strict=True))]


def outline(raw: Any) -> Any:
    """An outline written as points, as `{"x": 1, "y": 2}` or as a flat list; text as numbers."""
    if not isinstance(raw, list):
        return raw
    points = [of_xy(point) for point in raw]
    if not any(isinstance(point, list | tuple) for point in points):
        points = pairs(points)
    if not isinstance(points, list) or not all(map(_is_pair, points)):
        return raw
    values = numbers([value for point in points for value in point])
    return raw if values is None else pairs(values)


def hull(points: Any) -> Any:
    """The convex hull of points, as a box where it has three corners."""
    if not isinstance(points, list) or not are_points(points):
        return points
    shape = shapely.MultiPoint(points).convex_hull
    if not isinstance(shape, shapely.Polygon):
        return points
    box = shape if len(shape.exterior.coords) > 4 else shape.minimum_rotated_rectangle
    corners: list[list[float]] = shapely.get_coordinates(box)[:-1].tolist()
    return corners


def of_xy(point: Any) -> Any:
    """`{"x": 1, "y": 2}` in either case as `[1, 2]`."""
    if not isinstance(point, dict):
        return point
    return [point.get("x", point.get("X")), point.get("y", point.get("Y"))]


def numbers(values: Sequence[Any]) -> list[float] | None:
    """The values as floats, text of a number too; None unless all are finite numbers."""
    found = [_number(value) for value in values]
    return None if None in found else [value for value in found if value is not None]


def are_points(outline: list[Any]) -> bool:
    """Whether all are pairs of finite numbers."""
    return all(_is_pair(point) and numbers(point) for point in outline)


def _is_pair(point: Any) -> bool:
    return isinstance(point, list | tuple) and len(point) == 2


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
