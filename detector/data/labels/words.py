"""From words as annotated to words that can be trained on: every rule about one page's words."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.core.geometry import Points, canonical_order, signed_area
from detector.data.labels.pages import Fault, Word, fault

DONT_CARE = "###"

# Beyond this, pyclipper's scaled integers and float32 lose the fractions of a pixel.
_FARTHEST_PX = 2.0**20
# Below this an outline is a line or a point but for rounding.
_SMALLEST_AREA_PX2 = 0.01
# Annotations count from pixel centres or from edges; either is inside with this much room.
_ROOM_PX = 0.5
_MOST_POINTS = 1000  # more than any word's outline has


class _ExcludedError(Exception):
    """A word that cannot be used: `kind` and message of its fault."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _NoOutlineError(_ExcludedError):
    """Points that are no outline, though they may tell where text is."""


def check_words(
    file: str,
    words: Mapping[str, Any],
    width: int,
    height: int,
    dont_care: Collection[str] = (),
) -> tuple[tuple[Word, ...], list[Fault]]:
    """The usable words of a page of `width` x `height` pixels, and the faults of all.

    Words whose text is one of `dont_care` are don't-care, besides those with `###`. Outlines run
    clockwise on the screen from their first point.

    - Don't-care: what is no outline but says where text is, which must not be learnt as
      background. Points that are not pairs of numbers, not finite or beyond 2**20 px are left
      out; the convex hull of the others, of two the box that they span, is the word. So are
      outlines of under four points or over a thousand.
    - Excluded: what says nowhere on the page that text is, being no object, without area or
      wholly outside, and one of two words with the same corners (no detection could match
      both), the don't-care one or else the second.
    - Kept with a fault: partly outside the page (not clipped), a repeated closing point
      (dropped).
    - An outline that crosses itself: four corners are put in order, the order being unique.
      Otherwise what is text cannot be known, and the convex hull becomes don't-care.
    """
    found: dict[str, Word] = {}
    notes: dict[str, list[tuple[str, str]]] = {key: [] for key in words}
    for key, raw in words.items():
        try:
            found[key] = _word(key, raw, (width, height), notes[key], dont_care)
        except _ExcludedError as error:
            notes[key] = [(error.kind, str(error))]  # what was kept of it no longer matters
    for key, first in _repeated(found.values()):
        del found[key]
        message = f"the same corners as word {first}; remove one of them"
        notes[key] = [("duplicate-word", message)]
    faults = [fault(file, key, kind, message) for key in words for kind, message in notes[key]]
    return tuple(found.values()), faults


def refuse_fractions(split: Path, pages: Iterable[Mapping[str, Any]]) -> None:
    """Raise InputError when all points of a split are shares of a page instead of pixels.

    All lie within the first pixel then, which holds no text, and some are no whole numbers.
    """
    largest, whole = 0.0, True
    for raw in (raw for words in pages for raw in words.values()):
        points = raw.get("points") if isinstance(raw, Mapping) else None
        for item in points if isinstance(points, list) else ():
            with suppress(_NoOutlineError):
                pair = _pair(item)
                largest = max(largest, *map(abs, pair))
                whole = whole and all(value.is_integer() for value in pair)
        if largest > 1:
            return
    if not whole:
        raise InputError(
            f"{split}: all points of its words lie between 0 and 1, as shares of the page do, but "
            "must be pixels; multiply x by the width and y by the height of the image"
        )


def _repeated(words: Iterable[Word]) -> list[tuple[str, str]]:
    """Words with the same corners as another, and that one: one that counts, or else the first."""
    outlines: dict[tuple[Any, ...], str] = {}
    pairs = []
    for word in sorted(words, key=lambda word: word.ignore):
        first = outlines.setdefault(tuple(sorted(map(tuple, word.points.tolist()))), word.id)
        if first != word.id:
            pairs.append((word.id, first))
    return pairs


def _word(
    key: str,
    raw: Any,
    size: tuple[int, int],
    notes: list[tuple[str, str]],
    dont_care: Collection[str],
) -> Word:
    if not isinstance(raw, Mapping):
        raise _ExcludedError(
            "bad-word", f"a word must be an object with points, got {type(raw).__name__}"
        )
    points, rough = _outline(raw.get("points"), notes)
    _check_place(points, *size, notes)
    text = _text(raw.get("transcription"), notes)
    told = text == DONT_CARE or text in dont_care
    ignore = _ignore(raw.get("ignore"), notes) or told or rough
    orientation = raw.get("orientation")
    return Word(
        id=key,
        points=points,
        text=text,
        ignore=ignore,
        languages=_languages(raw.get("language")),
        orientation=orientation if isinstance(orientation, str) else None,
    )


def _outline(raw: Any, notes: list[tuple[str, str]]) -> tuple[Points, bool]:
    """A word's outline, and whether it is but the rough place of what is none."""
    if not isinstance(raw, list):
        raise _ExcludedError("no-place", f"points must be a list of [x, y], got {shown(raw)}")
    try:
        return _simple(_points(raw, notes), notes)
    except _NoOutlineError as error:
        hull = _hull(raw)
        if hull is None:
            raise _ExcludedError("no-place", f"{error}, and no area on which text is") from None
        notes[:] = [(error.kind, f"{error}; the hull of its points is used")]
        return hull, True


def _points(raw: list[Any], notes: list[tuple[str, str]]) -> Points:
    """`(K >= 4, 2)` float32 finite points of an outline."""
    rows = [_pair(item) for item in raw]
    if len(rows) < 4:
        raise _NoOutlineError("few-points", f"an outline needs at least 4 points, got {len(rows)}")
    if len(rows) > _MOST_POINTS:
        raise _NoOutlineError(
            "many-points", f"an outline has at most {_MOST_POINTS} points, got {len(rows)}"
        )
    points = np.array(rows, dtype=np.float64)
    if len(points) > 4 and (points[0] == points[-1]).all():
        points = points[:-1]
        notes.append(("closed-outline", "the last point repeats the first and was dropped"))
    return points.astype(np.float32)


def _pair(item: Any) -> tuple[float, float]:
    pair = list(item) if isinstance(item, list | tuple) else []
    numbers = [v for v in pair if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(pair) != 2 or len(numbers) != 2:
        raise _NoOutlineError("bad-points", f"a point must be two numbers, got {shown(item)}")
    try:
        x, y = float(pair[0]), float(pair[1])
    except OverflowError:  # an integer of hundreds of digits
        x = y = math.inf
    if not (math.isfinite(x) and math.isfinite(y)):
        raise _NoOutlineError("non-finite", "coordinates must be finite, got NaN or infinity")
    if max(abs(x), abs(y)) > _FARTHEST_PX:
        raise _NoOutlineError(
            "huge-coordinate",
            f"coordinates are source pixels, at most 2**20, got {max(abs(x), abs(y)):g}",
        )
    return x, y


def _hull(raw: list[Any]) -> Points | None:
    """Where the points are that can be read: their hull, of two the box they span; None without
    area."""
    readable = []
    for item in raw:
        with suppress(_NoOutlineError):
            readable.append(_pair(item))
    points = np.array(readable, dtype=np.float32).reshape(-1, 2).astype(np.float64)
    if len(points) == 2:
        points = shapely.get_coordinates(shapely.box(*points.min(axis=0), *points.max(axis=0)))
    hull = shapely.MultiPoint(points).convex_hull
    if hull.area < _SMALLEST_AREA_PX2:
        return None
    corners = _corners(hull)
    if len(corners) == 3:  # most often of a box that has lost one, opposite its right angle
        sides = np.linalg.norm(np.roll(corners, -1, axis=0) - np.roll(corners, -2, axis=0), axis=1)
        corner, one, other = np.roll(corners, -int(sides.argmax()), axis=0)
        corners = np.stack([corner, one, one + other - corner, other])
    return canonical_order(corners[:: -(-len(corners) // _MOST_POINTS)])


def _simple(points: Points, notes: list[tuple[str, str]]) -> tuple[Points, bool]:
    """The outline without self-crossings, and whether it had to become don't-care."""
    polygon = shapely.Polygon(points.astype(np.float64))
    hull = polygon.convex_hull
    if hull.area < _SMALLEST_AREA_PX2:
        raise _ExcludedError("zero-area", f"the outline encloses no area, got {_listed(points)}")
    if polygon.is_valid and polygon.area >= _SMALLEST_AREA_PX2:
        return points if signed_area(points) > 0 else np.roll(points[::-1], 1, axis=0), False
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
