"""Words of a crop once more, where it shows nothing but paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.core.geometry import Box
from detector.data.crops.targets import fill_polygons

MOST_WORDS = 8  # pasted into a crop
_TRIES = 24  # places looked at for each
_MARGIN = 0.15  # of paper taken along around a word, a share of its height
_GAP = 0.5  # from other words, the same: as far as a label's border may reach
_LEAST_GAP_PX = 4
_THINNEST_PX = 4.0  # height of a word to paste: smaller ones may not be trained on
_FAINTEST = 8.0  # standard deviation, in levels, of a word and its paper that shows at all
_PLAIN = 0.25  # how much a place may vary, as a share of that
_ALIKE = 1.25  # largest ratio of the two papers

Image = NDArray[np.uint8]
Points = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Word:
    """What the window of a word shows.

    paper: (3,) float32, the median colour around it. ratio: (h, w, 3) float32, colours over that,
    1 where they are not to be taken along. contrast: standard deviation, levels of 255.
    gap_px: see `_GAP`.
    """

    paper: NDArray[np.float32]
    ratio: NDArray[np.float32]
    contrast: float
    gap_px: int


def paste_words(
    crop: Image,
    polygons: Sequence[Points],
    ignore: Sequence[bool],
    page: Points,
    rng: np.random.Generator,
) -> tuple[Image, list[Points]]:
    """The crop with up to 8 of its words pasted on plain paper as light as theirs.

    A word is multiplied onto its place with a soft margin, as ink darkens paper. No place is on or
    near a word or what is don't-care, or outside the page.

    Args:
        crop: (H, W, 3) uint8 RGB, not changed.
        polygons: (K, 2) xy each, in its pixels, of all words, inside or not.
        ignore: a flag per polygon: don't-care, never copied.
        page: (K, 2), the outline of the page.
        rng: the only source of randomness.

    Returns:
        The crop and the outlines of the words that were added, each that of another word, moved.
    """
    ignored = np.array([flag for p, flag in zip(polygons, ignore, strict=True) if len(p)], bool)
    words = [p for p in polygons if len(p)]
    low, high = _extents(words)
    inside = (low > 0) & (high < np.array(crop.shape[1::-1]) - 1)
    whole = np.flatnonzero(inside.all(axis=1) & ~ignored)
    if not len(whole):
        return crop, []
    taken = np.ones(crop.shape[:2], np.uint8)
    fill_polygons(taken, [page], 0)
    fill_polygons(taken, words, 1)
    canvas, added = crop.copy(), []
    for _ in range(int(rng.integers(1, MOST_WORDS, endpoint=True))):
        index, draw = int(whole[rng.integers(len(whole))]), rng.random((_TRIES, 2))
        window = _window(words[index], crop)
        if window is None:
            continue
        x0, y0, x1, y1 = window
        near = np.flatnonzero(((low < (x1, y1)) & (high >= (x0, y0))).all(axis=1))
        word = _cut(crop, words[index], window, [words[i] for i in near if i != index])
        place = _free_place(canvas, taken, word, draw)
        if place is None:
            continue
        x, y, right, bottom = place
        part = canvas[y:bottom, x:right]
        part[:] = cv2.multiply(part, word.ratio, dtype=cv2.CV_8U)
        taken[y:bottom, x:right] = 1
        added.append(words[index] + np.array([x - x0, y - y0], np.float32))
    return canvas, added


def _extents(polygons: Sequence[Points]) -> tuple[Points, Points]:
    """`(N, 2)` lowest and highest x and y of N polygons, none of them empty."""
    if not polygons:
        return np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
    points = np.concatenate(polygons)
    first = np.cumsum([0, *(len(p) for p in polygons[:-1])])
    return np.minimum.reduceat(points, first), np.maximum.reduceat(points, first)


def _window(outline: Points, crop: Image) -> Box | None:
    """What a word takes of the crop with its margin; None where that leaves it, or for thin words.

    Those are not trained on, so that a copy would be ink without a label.
    """
    if _height(outline) < _THINNEST_PX:
        return None
    margin = _margin(outline) + 1
    low, high = outline.min(axis=0) - margin, outline.max(axis=0) + margin
    if (low < 0).any() or (high > np.array(crop.shape[1::-1]) - 1).any():
        return None
    (x0, y0), (x1, y1) = np.floor(low).astype(int), np.ceil(high).astype(int) + 1
    return int(x0), int(y0), int(x1), int(y1)


def _height(outline: Points) -> float:
    """The short side of the smallest rectangle around a word."""
    return float(min(cv2.minAreaRect(outline)[1]))


def _margin(outline: Points) -> int:
    return max(1, math.ceil(_MARGIN * _height(outline)))


def _cut(crop: Image, outline: Points, window: Box, near: Sequence[Points]) -> _Word:
    """A word with its margin, without the words `near` it."""
    x0, y0, x1, y1 = window
    corner = np.array([x0, y0], np.float32)
    shown = crop[y0:y1, x0:x1].astype(np.float32)
    own, others = np.zeros(shown.shape[:2], np.uint8), np.zeros(shown.shape[:2], np.uint8)
    fill_polygons(own, [outline - corner], 1)
    fill_polygons(others, [p - corner for p in near], 1)
    side = 2 * _margin(outline) + 1
    wide = cv2.dilate(own, np.ones((side, side), np.uint8))
    ring = (wide > own) & (others == 0)
    paper = np.median(shown[ring] if ring.any() else shown.reshape(-1, 3), axis=0)
    paper = np.maximum(paper, 1).astype(np.float32)
    soft = cv2.blur((ring | (own > 0)).astype(np.float32), (side, side))
    soft[others > 0] = 0
    ratio = 1 + np.maximum(soft, own)[..., None] * (shown / paper - 1)
    gap = max(_LEAST_GAP_PX, math.ceil(_GAP * _height(outline)))
    return _Word(paper, ratio, float(cv2.meanStdDev(shown)[1].max()), gap)


def _free_place(
    canvas: Image, taken: NDArray[np.uint8], word: _Word, draw: NDArray[np.float64]
) -> Box | None:
    """The first of some random windows that is far from what is taken, plain and as light."""
    if word.contrast < _FAINTEST:
        return None
    (height, width), gap = word.ratio.shape[:2], word.gap_px
    room = np.array(canvas.shape[1::-1]) - (width, height) + 1
    for x, y in (draw * room).astype(int).tolist():
        right, bottom = x + width, y + height
        if taken[max(0, y - gap) : bottom + gap, max(0, x - gap) : right + gap].any():
            continue
        mean, deviation = cv2.meanStdDev(canvas[y:bottom, x:right])
        ratio = np.maximum(mean[:, 0], 1) / word.paper
        alike = (ratio <= _ALIKE).all() and (ratio >= 1 / _ALIKE).all()
        if alike and deviation.max() <= _PLAIN * word.contrast:
            return x, y, right, bottom
    return None
