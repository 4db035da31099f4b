"""Probability map -> scored outlines of its regions, in pixels of the map.

Pixel (row i, column j) has its centre at x = j, y = i, and a region's outline runs through the
centres of its outermost pixels. That undoes `cv2.fillPoly`, which draws the training kernels and
sets every pixel that an outline passes through: a perfect kernel grown by the exact distance
gives the word back without bias, whereas measuring pixels as unit squares makes it too thick
(by 2.7 px for a 60 x 16 px word).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.core.errors import InputError
from detector.postprocess.boxes import Boxes

# How far the pixel grid may put an outline off, and at most this share of its thickness.
_GRID_PX = 1.0
_THIN_SHARE = 0.2

T = TypeVar("T")
Contour = NDArray[np.int32]  # (K, 2) xy, pixel centres of the map


@dataclass(frozen=True, eq=False)
class Candidates:
    """The regions of one map, best score first; equal scores from top to bottom.

    contours: `(K, 2)` int32 xy, pixels of the map.
    scores: `(N,)` float32, mean probability of each region.
    """

    contours: list[Contour]
    scores: NDArray[np.float32]
    _known: dict[tuple[object, ...], Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.contours)

    @cached_property
    def boxes(self) -> Boxes:
        """Their minimum-area rectangles."""
        return Boxes.around(self.contours)

    def simplified(self, epsilon: float) -> list[Contour]:
        """Their outlines without needless points (see `simplified`)."""
        return self.once(
            ("simplified", epsilon), lambda: [simplified(c, epsilon) for c in self.contours]
        )

    def once(self, key: tuple[object, ...], find: Callable[[], T]) -> T:
        """What `find` gives for these candidates, found once and kept by its `key`."""
        if key not in self._known:
            self._known[key] = find()
        found: T = self._known[key]
        return found

    def first(self, count: int) -> Candidates:
        """The best `count` of them."""
        return Candidates(self.contours[:count], self.scores[:count])


def find_candidates(
    probability: NDArray[np.float32],
    *,
    thresh: float,
    score_mode: Literal["fast", "slow"],
    dilate: bool,
    epsilon: float,
) -> Candidates:
    """Every region above `thresh` of a `(H, W)` float32 probability map.

    Holes are no regions; text in a hole is. A region's score is the mean over its outline
    (fast) or its outline simplified by `epsilon` of its length (slow), holes included.

    Raises InputError when the map is not two-dimensional or not finite.
    """
    p = np.ascontiguousarray(probability, dtype=np.float32)
    if p.ndim != 2:
        raise InputError(f"probability: need a (H, W) map, got shape {p.shape}")
    if not np.isfinite(p).all():
        raise InputError("probability: need finite values, got NaN or infinity from the model")
    contours = _outlines(p, thresh, dilate)
    if not contours:
        return Candidates([], np.zeros(0, np.float32))
    scored = [simplified(c, epsilon) for c in contours] if score_mode == "slow" else contours
    scores = _means_inside(p, scored)
    ends = np.cumsum([len(c) for c in contours[:-1]])
    first = np.concatenate(contours)[np.append(0, ends).astype(np.intp)]
    order = np.lexsort((first[:, 0], first[:, 1], -scores))
    return Candidates([contours[i] for i in order.tolist()], scores[order])


def simplified(contour: Contour, epsilon: float) -> Contour:
    """The outline without the points nearer than `epsilon` of its length to the rest.

    Nor those nearer than a pixel, or than a fifth of the thickness (2 A / L) where that is
    less: they follow the pixel grid, not the text. With an `epsilon` of 0 every point stays.
    """
    length = cv2.arcLength(contour, True)
    if not epsilon or not length:
        return contour
    thickness = 2 * cv2.contourArea(contour) / length
    distance = max(epsilon * length, min(_GRID_PX, _THIN_SHARE * thickness))
    return _points(cv2.approxPolyDP(contour, distance, True))


def _outlines(p: NDArray[np.float32], thresh: float, dilate: bool) -> list[Contour]:
    """Outer outlines of the regions above `thresh`, including regions in holes of others."""
    if not p.size:
        return []
    binary = (p > thresh).view(np.uint8)
    if dilate:
        binary = cv2.dilate(binary, np.ones((2, 2), np.uint8)).astype(np.uint8, copy=False)
    found, tree = cv2.findContours(binary, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not found:
        return []
    outer = np.flatnonzero(tree[0, :, 3] < 0)  # a hole has a parent, a region has none
    return [_points(found[i]) for i in outer.tolist()]


def _points(array: Any) -> Contour:
    """The `(K, 1, 2)` int32 points that OpenCV returns, as rows."""
    points: Contour = array.reshape(-1, 2)
    return points


def _means_inside(p: NDArray[np.float32], contours: list[Contour]) -> NDArray[np.float32]:
    """`(N,)` mean probabilities of the pixels on and inside contours, holes included."""
    flat = np.concatenate(contours)
    first = np.cumsum([0, *map(len, contours[:-1])])
    low, high = np.minimum.reduceat(flat, first), np.maximum.reduceat(flat, first) + 1
    scores = []
    for contour, (x0, y0), (x1, y1) in zip(contours, low.tolist(), high.tolist(), strict=True):
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(mask, [contour], 1, offset=(-x0, -y0))
        scores.append(cv2.mean(p[y0:y1, x0:x1], mask)[0])
    return np.array(scores, np.float32)
