"""Thin-plate splines (Bookstein 1989, doi:10.1109/34.24792), to bend pages and to straighten them.

A spline here gives displacements, not places: what it does not know of stays where it is, and
beyond a box the displacement is that of the nearest point of the box. So it stays bounded
wherever it is asked, and as long as it is less steep than 1 it has an inverse, found by
fixed-point iteration. OpenCV has such splines in builds with the `shape` module only.

Coordinates: xy, the centre of pixel (i, j) is the point (i, j).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Map = Callable[[Floats], NDArray[Any]]  # (K, 2) points to (K, 2) points

MAX_SLOPE = 0.5  # of displacements in px per px; below 1 with room for what a grid misses

_SMOOTH = 1e-6  # added to the kernel's diagonal: centres on one spot then still have a solution
_ROUNDS = 14  # of the inverse; each divides the error by 1 / MAX_SLOPE, so 100 px leave 0.01
_SAMPLES = 33  # points along each side of the box at which the slope is measured
_CELL = 8  # px of the result between two exact evaluations of a map
_TILE = 512  # px of the result that are worked on at once, for the memory's sake
_FAR_PX = 2.0**20  # places further away are taken to be there, outside any image
_MOST_SAMPLES = 16  # per pixel and direction; 512 px of them stay within cv2's limit


@dataclass(frozen=True, eq=False)
class Bend:
    """The map p -> p + d(p) with d a thin-plate spline, constant beyond `box`.

    centres: (N, 2) in units of `unit` from `origin`, where the system is well conditioned.
    weights: (N + 3, 2), of the kernel r^2 log r^2 at each centre, then of 1, x and y.
    box: (2, 2), lowest and highest x, y of where d varies.
    """

    centres: Floats
    weights: Floats
    origin: Floats
    unit: float
    box: Floats

    def __call__(self, points: ArrayLike) -> Floats:
        """(K, 2) points to (K, 2) float64; each as if it were alone, to the last bit."""
        p = np.asarray(points, np.float64).reshape(-1, 2)
        return p + self._displacement(p)

    def inverse(self, points: ArrayLike) -> Floats:
        """The (K, 2) points that a call takes to `points`, to 0.01 px below MAX_SLOPE."""
        target = np.asarray(points, np.float64).reshape(-1, 2)
        p = target
        for _ in range(_ROUNDS):
            p = target - self._displacement(p)
        return p

    def slope(self) -> float:
        """Largest change of the displacement in px per px, over all directions and places.

        The Frobenius norm of the Jacobian on a grid over the box.
        """
        axes = [np.linspace(low, high, _SAMPLES) for low, high in self.box.T]
        grid = np.stack(np.meshgrid(*axes), axis=-1)
        moves = self._displacement(grid.reshape(-1, 2)).reshape(grid.shape)
        across, down = np.maximum(np.ptp(self.box, axis=0), 1e-9) / (_SAMPLES - 1)
        by_x, by_y = np.gradient(moves, across, axis=1), np.gradient(moves, down, axis=0)
        return float(np.sqrt((by_x**2 + by_y**2).sum(axis=2)).max())

    def scaled(self, share: float) -> Bend:
        """The same with displacements `share` times as long."""
        return replace(self, weights=self.weights * share)

    def _displacement(self, points: Floats) -> Floats:
        inside = (np.clip(points, *self.box) - self.origin) / self.unit
        x, y = np.ascontiguousarray(inside.T)
        constant, by_x, by_y = self.weights[-3:]
        moves = np.empty((2, len(points)))
        for i in (0, 1):
            moves[i] = constant[i] + by_x[i] * x + by_y[i] * y
        # Centre by centre: the last bits of a matrix product depend on how many points there are.
        for (cx, cy), weight in zip(self.centres, self.weights[:-3], strict=True):
            kernel = _kernel((x - cx) ** 2 + (y - cy) ** 2)
            moves[0] += weight[0] * kernel
            moves[1] += weight[1] * kernel
        return moves.T


def fit_bend(centres: ArrayLike, moves: ArrayLike, box: ArrayLike) -> Bend:
    """The spline of least bending energy whose displacements at `centres` are `moves`.

    Args:
        centres: (N, 2) points, at least three and not all on one line.
        moves: (N, 2) displacements there, met to about a millionth of their size.
        box: (2, 2), lowest and highest x, y; see `Bend`.

    Raises:
        numpy.linalg.LinAlgError (a ValueError): when the points are on one line.
    """
    p, limits = np.asarray(centres, np.float64), np.asarray(box, np.float64)
    origin, unit = limits.mean(axis=0), float(max(1e-9, *np.ptp(limits, axis=0)))
    p = (p - origin) / unit
    kernel = _kernel(((p[:, None] - p[None]) ** 2).sum(axis=2)) + _SMOOTH * np.eye(len(p))
    affine = np.column_stack([np.ones(len(p)), p])
    system = np.block([[kernel, affine], [affine.T, np.zeros((3, 3))]])
    if np.linalg.matrix_rank(affine) < 3:
        raise np.linalg.LinAlgError("the centres of a spline are on one line")
    values = np.concatenate([np.asarray(moves, np.float64), np.zeros((3, 2))])
    return Bend(p, np.linalg.solve(system, values), origin, unit, limits)


def _kernel(squared: Floats) -> Floats:
    """r^2 log r^2 of squared distances, 0 at 0."""
    return squared * np.log(np.maximum(squared, 1e-300))


def resample(
    image: NDArray[np.uint8], to_source: Map, size: tuple[int, int], fill: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """`image` seen through a smooth map: one bilinear resampling, antialiased where it shrinks.

    The map is evaluated at every 8th pixel and interpolated. Where it shrinks by k, about
    (k / 1.4)^2 samples are averaged for a pixel; `detector.data.page.warp` does that faster, but
    for homographies only.

    Args:
        image: (H, W, 3) uint8, sides below 32767.
        to_source: from (K, 2) pixels of the result to pixels of `image`.
        size: (width, height) of the result.
        fill: colour outside `image`.

    Returns:
        (height, width, 3) uint8.
    """

    def places(points: Floats) -> Floats:  # at a homography's horizon there are none
        found = np.nan_to_num(to_source(points), nan=_FAR_PX)
        return np.asarray(np.clip(found, -_FAR_PX, _FAR_PX), np.float64)

    width, height = size
    samples = _samples_per_side(places, size)
    result = np.empty((height, width, 3), np.uint8)
    for y in range(0, height, _TILE):
        for x in range(0, width, _TILE):
            part = result[y : y + _TILE, x : x + _TILE]
            maps = _dense(places, (x, y), (part.shape[1], part.shape[0]), samples)
            seen = _remap(image, maps, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
            if samples > 1:
                seen = cv2.resize(
                    seen, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_AREA
                )
            part[:] = seen
    return result


def _samples_per_side(to_source: Map, size: tuple[int, int]) -> int:
    """How often each pixel must be sampled along x and y, by the map's median scale."""
    axes = [np.linspace(-0.5, side - 0.5, 9) for side in size]
    places = to_source(np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)).reshape(9, 9, 2)
    by_x = np.asarray(np.gradient(places, size[0] / 8, axis=1))
    by_y = np.asarray(np.gradient(places, size[1] / 8, axis=0))
    areas = np.abs(by_x[..., 0] * by_y[..., 1] - by_x[..., 1] * by_y[..., 0])
    # Bilinear sampling itself averages as much as shrinking by the root of 2 needs.
    needed = math.sqrt(float(np.median(areas)) / 2)
    return min(_MOST_SAMPLES, max(1, math.ceil(needed - 1e-3)))


def _dense(
    to_source: Map, start: tuple[int, int], size: tuple[int, int], samples: int
) -> NDArray[np.float32]:
    """Where to sample for the (width, height) `size` pixels from `start` on, (H, W, 2)."""
    # Nodes lie in the middle of cells, and one cell beyond, so that resizing interpolates.
    x, y = (
        first + _CELL * np.arange(-1, math.ceil(side / _CELL) + 1) + (_CELL - 1) / 2
        for first, side in zip(start, size, strict=True)
    )
    nodes = np.stack(np.meshgrid(x, y), axis=-1)
    coarse = to_source(nodes.reshape(-1, 2)).reshape(nodes.shape).astype(np.float32)
    cell = _CELL * samples
    fine = cv2.resize(coarse, (cell * len(x), cell * len(y)), interpolation=cv2.INTER_LINEAR)
    return np.asarray(
        fine[cell : cell + size[1] * samples, cell : cell + size[0] * samples], np.float32
    )


def _remap(image: NDArray[Any], maps: NDArray[np.float32], **options: Any) -> NDArray[Any]:
    remap: Any = cv2.remap  # its type stub does not admit the absent second map
    return np.asarray(remap(image, maps, None, cv2.INTER_LINEAR, **options))
