"""From words as annotated to words that can be trained on: every rule about one page's words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from detector.core.escape import shown
from detector.core.geometry import Points, canonical_order
from detector.data.labels.pages import Fault, Word, fault

DONT_CARE = "###"

# Beyond this, pyclipper's scaled integers and float32 lose the fractions of a pixel.
_FARTHEST_PX = 2.0**20
# Below this an outline is a line or a point but for rounding.
_SMALLEST_AREA_PX2 = 0.01
# Annotations count from pixel centres or from edges; either is inside with this much room.
_ROOM_PX = 0.5
# More points than any word's outline has. Repairing one that crosses itself takes shapely a time
# that grows with the fourth power of its points, 20 s for 256 of them.
_MOST_POINTS = 1000
_MOST_REPAIRED = 32


class _ExcludedError(Exception):
    """A word that cannot be used: `kind` and message of its fault."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def check_words(
    file: str, words: Mapping[str, Any], width: int, height: int
) -> tuple[tuple[Word, ...], list[Fault]]:
    """The usable words of a page of `width` x `height` pixels, and the faults of all.

    - Excluded: not an object, points that are not pairs of numbers, under four points or over
      a thousand, not finite, beyond 2**20 px, without area, wholly outside the page, and the
      second of two words with the same corners (no detection could match both).
    - Kept with a fault: partly outside the page (not clipped), a repeated closing point
      (dropped).
    - An outline that crosses itself: four corners are put in order, the order being unique.
      Otherwise what is text cannot be known, and the convex hull becomes don't-care.
    """
    kept: list[Word] = []
    faults: list[Fault] = []
    outlines: dict[tuple[Any, ...], str] = {}
    for key, raw in words.items():
        notes: list[tuple[str, str]] = []
        try:
            word = _word(key, raw, width, height, notes)
            outline = tuple(sorted(map(tuple, word.points.tolist())))
            if outline in outlines:
                raise _ExcludedError(
                    "duplicate-word",
                    f"the same corners as word {outlines[outline]}; remove one of them",
                )
            outlines[outline] = key
            kept.append(word)
        except _ExcludedError as error:
            notes = [(error.kind, str(error))]  # what was kept of it no longer matters
        faults += [fault(file, key, kind, message) for kind, message in notes]
    return tuple(kept), faults


def _word(key: str, raw: Any, width: int, height: int, notes: list[tuple[str, str]]) -> Word:
    if not isinstance(raw, Mapping):
        raise _ExcludedError(
            "bad-word", f"a word must be an object with points, got {type(raw).__name__}"
        )
    points = _points(raw.get("points"), notes)
    points, tangled = _simple(points, notes)
    _check_place(points, width, height, notes)
    text = _text(raw.get("transcription"), notes)
    ignore = _ignore(raw.get("ignore"), notes) or text == DONT_CARE or tangled
    orientation = raw.get("orientation")
    return Word(
        id=key,
        points=points,
        text=text,
        ignore=ignore,
        languages=_languages(raw.get("language")),
        orientation=orientation if isinstance(orientation, str) else None,
    )


def _points(raw: Any, notes: list[tuple[str, str]]) -> Points:
    """`(K >= 4, 2)` float32 finite points of an outline with some area."""
    if not isinstance(raw, list):
        raise _ExcludedError("bad-points", f"points must be a list of [x, y], got {shown(raw)}")
    rows = [_pair(item) for item in raw]
    if len(rows) < 4:
        raise _ExcludedError("few-points", f"an outline needs at least 4 points, got {len(rows)}")
    if len(rows) > _MOST_POINTS:
        raise _ExcludedError(
            "many-points", f"an outline has at most {_MOST_POINTS} points, got {len(rows)}"
        )
    points = np.array(rows, dtype=np.float64)
    if not np.isfinite(points).all():
        raise _ExcludedError("non-finite", "coordinates must be finite, got NaN or infinity")
    if np.abs(points).max() > _FARTHEST_PX:
        raise _ExcludedError(
            "huge-coordinate",
            f"coordinates are source pixels, at most 2**20, got {np.abs(points).max():g}",
        )
    if len(points) > 4 and (points[0] == points[-1]).all():
        points = points[:-1]
        notes.append(("closed-outline", "the last point repeats the first and was dropped"))
    return points.astype(np.float32)


def _pair(item: Any) -> tuple[float, float]:
    pair = list(item) if isinstance(item, list | tuple) else []
    numbers = [v for v in pair if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(pair) != 2 or len(numbers) != 2:
        raise _ExcludedError("bad-points", f"a point must be two numbers, got {shown(item)}")
    try:
        return float(pair[0]), float(pair[1])
    except OverflowError:  # an integer of hundreds of digits
        return math.inf, math.inf


def _simple(points: Points, notes: list[tuple[str, str]]) -> tuple[Points, bool]:
    """The outline without self-crossings, and whether it had to become don't-care."""
    polygon = shapely.Polygon(points.astype(np.float64))
    valid = bool(polygon.is_valid)
    area = polygon.area if valid else _enclosed(polygon, len(points))
    if area < _SMALLEST_AREA_PX2:
        raise _ExcludedError("zero-area", f"the outline encloses no area, got {_listed(points)}")
    if valid:
        return points, False
    hull = polygon.convex_hull
    corners = _corners(hull)
    if len(points) == len(corners) == 4:
        notes.append(
            ("self-crossing", f"the outline crosses itself and was put in order: {_listed(points)}")
        )
        return canonical_order(corners), False
    if len(corners) < 4:
        corners = _corners(hull.minimum_rotated_rectangle)
    notes.append(("tangled", f"the outline crosses itself, its hull is used: {_listed(points)}"))
    return canonical_order(corners), True


def _enclosed(polygon: shapely.Polygon, count: int) -> float:
    """Square pixels inside an outline of `count` points that crosses itself; of its hull where
    finding them would take too long."""
    repaired = count <= _MOST_REPAIRED
    return float((shapely.make_valid(polygon) if repaired else polygon.convex_hull).area)


def _corners(polygon: shapely.Geometry) -> NDArray[np.float32]:
    """The points of a polygon's ring, without the repeated last one; `(K, 2)` float32."""
    return shapely.get_coordinates(polygon)[:-1].astype(np.float32)


def _check_place(points: Points, width: int, height: int, notes: list[tuple[str, str]]) -> None:
    """Raise when the word lies wholly outside the page; note when it lies partly outside."""
    low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    overlaps = low[0] < width and low[1] < height and min(high) > 0
    room = _ROOM_PX
    if min(low) >= -room and high[0] <= width + room and high[1] <= height + room and overlaps:
        return
    page = shapely.box(0, 0, width, height)
    where = (
        f"x {low[0]:g} to {high[0]:g}, y {low[1]:g} to {high[1]:g}, "
        f"but the page is {width} x {height}"
    )
    if shapely.Polygon(points.astype(np.float64)).intersection(page).area <= 0:
        raise _ExcludedError("outside-page", f"wholly outside the page: {where}")
    notes.append(("partly-outside", f"partly outside the page: {where}"))


def _text(raw: Any, notes: list[tuple[str, str]]) -> str | None:
    if raw is not None and not isinstance(raw, str):
        notes.append(("bad-text", f"transcription must be text, got {shown(raw)}"))
        return None
    return raw or None


def _ignore(raw: Any, notes: list[tuple[str, str]]) -> bool:
    if raw is None or isinstance(raw, bool):
        return bool(raw)
    notes.append(("bad-ignore", f"ignore must be true or false, got {shown(raw)}"))
    return True


def _languages(raw: Any) -> tuple[str, ...]:
    names: Iterable[Any] = raw if isinstance(raw, list) else [raw]
    return tuple(name for name in names if isinstance(name, str))


def _listed(points: Points) -> str:
    """The first points as `(x, y) (x, y)`."""
    shown = " ".join(f"({x:g}, {y:g})" for x, y in points[:6])
    return shown if len(points) <= 6 else f"{shown} ..."
