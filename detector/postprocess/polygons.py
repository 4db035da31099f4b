"""Probability map -> word polygons with scores, in source pixels (arXiv:1911.08947, 3.5).

The stages can be called one by one, so that a sweep over settings repeats only what they
change: `find_candidates` reads the map, `candidate_count` cuts, `grow` makes the polygons.
Every candidate grows by itself: growing the first n gives the first n of growing all, bit
for bit, so nothing here may depend on the size of a batch (no matrix products, no sums
across polygons).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError
from detector.core.geometry import (
    Counts,
    Floats,
    Points,
    canonical_orders,
    clip_to_image,
    exact_distance,
    measures,
    offset_largest,
    split,
    transform_points,
)
from detector.data.page.flatten import Flattening
from detector.postprocess.boxes import Boxes
from detector.postprocess.candidates import Candidates, find_candidates
from detector.postprocess.maps import PageMap

__all__ = [
    "Candidates",
    "Detections",
    "Grown",
    "candidate_count",
    "detect",
    "find_candidates",
    "grow",
    "locate",
]

# Below this mean thickness (2 A / L, pixels) an outline is a line and has no inside to grow.
_LINE_PX = 0.5
# How far the chords that round a grown polygon's corners may lie from the arc.
_ARC_PX = 0.1
# How far a region may bulge beyond the word that it is of.
_BULGE_PX = 1.0
# What rounding by a radius of 1 takes from the four corners of a rectangle.
_ROUNDED = 4 - math.pi


@dataclass(frozen=True, eq=False)
class Detections:
    """The words found on one page, best score first.

    polygons: `(K, 2)` float32 xy in source pixels, within the page, in canonical order.
    scores: `(N,)` float32, mean probability of each word's region.
    """

    polygons: list[Points]
    scores: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Grown:
    """Candidates after growth, in the same order.

    polygons: `(K, 2)` float32 xy in source pixels, within the page, in canonical order.
    sides: `(N,)` float64, the shortest side after growth, in pixels of the map.
    solid: `(N,)` bool, whether the polygon has area on the page.
    """

    polygons: list[Points]
    sides: Floats
    solid: NDArray[np.bool_]


def locate(page_map: PageMap, settings: PostprocessConfig) -> Detections:
    """The words of a page's map, in pixels of the page."""
    return detect(
        page_map.probability,
        **settings.model_dump(),
        affine=page_map.affine,
        size=page_map.size,
        flattening=page_map.flattening,
    )


def detect(
    probability: NDArray[np.float32],
    *,
    thresh: float,
    box_thresh: float,
    unclip: Literal["ratio", "exact"],
    unclip_ratio: float,
    shrink_ratio: float,
    max_candidates: int,
    min_side_px: float,
    shape: Literal["quad", "polygon"],
    score_mode: Literal["fast", "slow"],
    dilate: bool,
    epsilon: float,
    affine: ArrayLike | None = None,
    size: tuple[int, int] | None = None,
    flattening: Flattening | None = None,
) -> Detections:
    """The words of a `(H, W)` float32 probability map.

    Regions above `thresh` are scored, those below `box_thresh` dropped, the best
    `max_candidates` kept, simplified, grown back (see `grow`), dropped when thinner than
    `min_side_px` model pixels, taken to the page by the inverse of `affine` (source -> map,
    `(2, 3)`) and clipped to `size` (width, height of the page). Without an affine the page
    is the map; with a `flattening` the affine starts from the flattened page. Holes are no
    regions; text in a hole is.

    Raises InputError when the map is not two-dimensional or not finite, when an affine
    comes without a size, or when it cannot be inverted.
    """
    found = find_candidates(
        probability, thresh=thresh, score_mode=score_mode, dilate=dilate, epsilon=epsilon
    )
    if size is None:
        if affine is not None:
            raise InputError("size: need the page's (width, height) with an affine, got None")
        height, width = np.shape(probability)
        size = (width, height)
    count = candidate_count(found.scores, box_thresh=box_thresh, max_candidates=max_candidates)
    best = found.first(count)
    grown = grow(
        best,
        unclip=unclip,
        unclip_ratio=unclip_ratio,
        shrink_ratio=shrink_ratio,
        shape=shape,
        epsilon=epsilon,
        dilate=dilate,
        affine=affine,
        size=size,
        flattening=flattening,
    )
    kept = np.flatnonzero((grown.sides >= min_side_px) & grown.solid)
    return Detections([grown.polygons[i] for i in kept.tolist()], best.scores[kept])


def candidate_count(scores: NDArray[np.float32], *, box_thresh: float, max_candidates: int) -> int:
    """How many of the candidates, best first, are kept."""
    return min(int(np.count_nonzero(scores >= box_thresh)), max_candidates)


def grow(
    candidates: Candidates,
    *,
    unclip: Literal["ratio", "exact"],
    unclip_ratio: float,
    shrink_ratio: float,
    shape: Literal["quad", "polygon"],
    epsilon: float,
    dilate: bool,
    affine: ArrayLike | None = None,
    size: tuple[int, int],
    flattening: Flattening | None = None,
) -> Grown:
    """The candidates as words, each side moved outwards by a distance D.

    With area A and length L of a region, D is A * unclip_ratio / L (ratio) or undoes the
    shrink by `shrink_ratio` that a rectangle went through (exact, see `exact_distance`).
    A polygon is the outline, simplified by `epsilon` of its length, with rounded corners. A quad
    is the minimum-area rectangle, grown by a ratio as the papers do; of the polygon with exact
    growth, about as large as that: the shrink was that of the outline, and a rectangle around a
    bent word has more area to its length, so it would grow too far. `dilate`, `affine`, `size` and
    `flattening` as in `detect`.

    Raises InputError when the affine cannot be inverted.
    """
    inverse = _inverse(affine)
    if shape == "quad" and unclip == "ratio":
        distances = _distance(*candidates.boxes.measure(), unclip_ratio, shrink_ratio)
        words = _rectangles(candidates.boxes, distances)
    else:
        words = _grown_outlines(
            candidates, unclip_ratio if unclip == "ratio" else None, shrink_ratio, epsilon
        )
        words = words.rectangles() if shape == "quad" else words
    # A 2 x 2 dilation adds a pixel on the right and below: half a pixel off centre.
    shift = -0.5 if dilate else 0.0
    on_page = transform_points(words.points + shift, inverse)
    if flattening is not None:
        on_page = flattening.to_source(on_page)
    on_page = clip_to_image(on_page, *size)
    found, areas = canonical_orders(on_page, words.counts)
    # A polygon without area lay wholly in the padding beside the page.
    return Grown(found, words.sides, areas > 0)


def _inverse(affine: ArrayLike | None) -> Floats:
    if affine is None:
        return np.eye(2, 3)
    matrix = np.asarray(affine, dtype=np.float64)
    (a, b, x), (c, d, y) = matrix.tolist() if matrix.shape == (2, 3) else ([0.0] * 3,) * 2
    scale = a * d - b * c
    if not 0 < abs(scale) < math.inf:
        raise InputError(f"affine: need an invertible (2, 3) matrix, got {matrix.tolist()}")
    linear = np.array([[d, -b], [-c, a]]) / scale
    return np.column_stack([linear, -(linear[:, 0] * x + linear[:, 1] * y)])


def _distance(area: ArrayLike, length: ArrayLike, ratio: float | None, shrink: float) -> Floats:
    if ratio is None:
        return exact_distance(area, length, shrink)
    return np.asarray(area, np.float64) * ratio / np.asarray(length, np.float64)


@dataclass(frozen=True, eq=False)
class _Words:
    """Grown words in pixels of the map, in the order of their candidates.

    points: `(M, 2)` float64, of all words in turn. counts: `(N,)` how many each has.
    sides: `(N,)` float64, the shortest side of each.
    rounded: `(N,)` float64, the area that growth with rounded corners took from each.
    """

    points: Floats
    counts: Counts
    sides: Floats
    rounded: Floats

    def rectangles(self) -> _Words:
        """Their minimum-area rectangles, with all sides moved inwards to the area of the word.

        What a network finds bulges here and there, and a rectangle around it holds every bulge.
        A side moves by a pixel at most: the rectangle of a bent word is larger for another reason.
        """
        outlines = split(self.points.astype(np.float32), self.counts.tolist())
        boxes = Boxes.around(outlines)
        inwards = boxes.inset(measures(self.points, self.counts)[0] + self.rounded)
        return _rectangles(boxes, -np.minimum(inwards, _BULGE_PX))


def _rectangles(boxes: Boxes, distances: Floats) -> _Words:
    points, counts = boxes.grown(np.arange(len(distances)), distances)
    sides = boxes.short_sides() + 2 * distances
    return _Words(points, counts, sides, np.zeros(len(distances)))


def _grown_outlines(
    candidates: Candidates, ratio: float | None, shrink: float, epsilon: float
) -> _Words:
    """The outlines, simplified by `epsilon`, grown by D; a line or point gives its grown rectangle.

    Found once for the same candidates: polygons and the rectangles around them ask for the same.
    """
    key = ("grown", ratio, shrink, epsilon)
    return candidates.once(key, lambda: _grow_outlines(candidates, ratio, shrink, epsilon))


def _grow_outlines(
    candidates: Candidates, ratio: float | None, shrink: float, epsilon: float
) -> _Words:
    outlines, boxes = candidates.simplified(epsilon), candidates.boxes
    counts = np.array([len(c) for c in outlines], np.intp)
    flat = np.concatenate([np.zeros((0, 2), np.int32), *outlines]).astype(np.float64)
    area, length = measures(flat, counts)
    thick = (2 * area >= _LINE_PX * length) & (length > 0)
    box_area, box_length = boxes.measure()
    distances = _distance(
        np.where(thick, area, box_area), np.where(thick, length, box_length), ratio, shrink
    )
    inner = np.flatnonzero(thick)
    chosen = flat[np.repeat(thick, counts)]
    pieces, sizes = offset_largest(chosen, counts[inner], distances[inner], _ARC_PX)
    counts = np.zeros(len(outlines), np.intp)
    counts[inner] = sizes
    lost = np.flatnonzero(counts == 0)
    whole = np.repeat(np.flatnonzero(counts), counts[counts > 0])
    corners, fours = boxes.grown(lost, distances[lost])
    points = np.concatenate([pieces, corners])
    order = np.argsort(np.concatenate([whole, np.repeat(lost, fours)]), kind="stable")
    counts[lost] = fours
    rounded = _ROUNDED * distances**2
    rounded[lost] = 0
    return _Words(points[order], counts, boxes.short_sides() + 2 * distances, rounded)
