"""From a flat sheet to its image in a photograph and back: folds, then perspective.

A sheet is flat paper coordinates plus a relief (its height above the table). Seen at an
angle, a raised point appears moved towards the viewer, so a point seen at paper position p
is really the point p + h(p) v, with h the relief and v the tilt of the view. The same
mapping moves the pixels and the word outlines, so the outlines stay true on folded paper.

Coordinates here are continuous: pixel (0, 0) covers [0, 1] x [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.core.geometry import transform_points

RELIEF_STEP = 4  # paper pixels between two relief samples
MAX_SLOPE = 0.3  # displacement per pixel; below 1 the mapping has an inverse
MAX_BOW_PX = 0.6  # a side that bends more than this gets points between its corners
GRID_STEP = 4  # image pixels between two exact evaluations of the mapping


@dataclass(frozen=True, eq=False)
class Warp:
    """`relief`: `(h, w)` float32, heights in paper pixels; `view`: `(2,)` tilt, paper px per px.

    `homography`: `(3, 3)`, paper to image; `size`: `(width, height)` of the image.
    """

    relief: NDArray[np.float32]
    view: NDArray[np.float64]
    homography: NDArray[np.float64]
    size: tuple[int, int]

    def to_paper(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Image `(N, 2)` to paper points."""
        seen = transform_points(points, np.linalg.inv(self.homography)).astype(np.float64)
        return seen + self._height(seen) * self.view

    def to_image(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Paper `(N, 2)` to image points, by fixed-point iteration of the inverse."""
        target = np.asarray(points, np.float64)
        seen = target
        for _ in range(12):  # the error shrinks by MAX_SLOPE each time
            seen = target - self._height(seen) * self.view
        return transform_points(seen, self.homography)

    def _height(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Relief at paper points `(N, 2)`, as `(N, 1)`; flat beyond the sheet's edge value."""
        h, w = self.relief.shape
        x = np.clip(points[:, 0] / RELIEF_STEP, 0, w - 1.001)
        y = np.clip(points[:, 1] / RELIEF_STEP, 0, h - 1.001)
        i, j = x.astype(np.intp), y.astype(np.intp)
        fx, fy = x - i, y - j
        top = self.relief[j, i] * (1 - fx) + self.relief[j, i + 1] * fx
        bottom = self.relief[j + 1, i] * (1 - fx) + self.relief[j + 1, i + 1] * fx
        return (top * (1 - fy) + bottom * fy)[:, None]

    def grid(self) -> NDArray[np.float32]:
        """Paper points seen at a coarse grid of image pixels, `(h, w, 2)`; see `to_full`."""
        width, height = self.size
        x, y = (np.arange(n // GRID_STEP + 2) * GRID_STEP + 0.5 for n in (width, height))
        points = np.stack(np.meshgrid(x, y), axis=-1)
        return self.to_paper(points.reshape(-1, 2)).reshape(points.shape).astype(np.float32)

    def to_full(self, coarse: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values on `grid`, `(h, w, ...)`, interpolated to every image pixel, `(H, W, ...)`."""
        width, height = self.size
        # warpAffine samples at index / GRID_STEP: pixel k * GRID_STEP gets grid value k exactly.
        matrix = np.diag([1 / GRID_STEP, 1 / GRID_STEP, 1.0])[:2]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        full = cv2.warpAffine(
            coarse, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(full, np.float32)

    def outlines(self, boxes: NDArray[np.floating]) -> list[NDArray[np.float32]]:
        """Image polygons of paper boxes `(N, 4)`: left, top, right, bottom.

        Each runs clockwise, as one reads, from the word's top left. It is `(4, 2)` where the
        four corners tell the shape to within MAX_BOW_PX, else `(8, 2)` with two more points
        on the upper and the lower side.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        share = np.array([0, 1 / 3, 2 / 3, 1])
        x = boxes[:, :1] + share * (boxes[:, 2:3] - boxes[:, :1])
        upper = np.stack([x, np.broadcast_to(boxes[:, 1:2], x.shape)], axis=2)
        lower = np.stack([x[:, ::-1], np.broadcast_to(boxes[:, 3:4], x.shape)], axis=2)
        points = np.concatenate([upper, lower], axis=1)  # (N, 8, 2)
        polygons = self.to_image(points.reshape(-1, 2)).reshape(points.shape)
        return [p if _bow(p) > MAX_BOW_PX else p[[0, 3, 4, 7]] for p in polygons]


def _bow(polygon: NDArray[np.float32]) -> float:
    """How far the inner points of the two long sides of `(8, 2)` lie from straight, in px."""
    sides = polygon.reshape(2, 4, 2)
    share = np.linspace(0, 1, 4, dtype=np.float32)[:, None]
    straight = sides[:, :1] + share * (sides[:, 3:] - sides[:, :1])
    return float(np.linalg.norm(sides - straight, axis=2).max())


def make_relief(
    shape: tuple[int, ...], strength: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Heights of a sheet `(H, W)` px: rolled, folded and crumpled; `strength` 0 is flat."""
    height, width = shape
    y, x = np.mgrid[
        0 : height + 2 * RELIEF_STEP : RELIEF_STEP, 0 : width + 2 * RELIEF_STEP : RELIEF_STEP
    ]
    x, y = x.astype(np.float32), y.astype(np.float32)
    waves = rng.uniform(0.5, 1.6)
    relief = rng.uniform(0, 16) * np.sin(2 * np.pi * (waves * y / height + rng.random()))
    if rng.random() < 0.4:
        relief += rng.uniform(0, 8) * np.sin(np.pi * (x / width + rng.random()))
    if rng.random() < 0.75:
        for _ in range(rng.integers(1, 5)):
            # Receipts are mostly folded across; some folds run along or askew.
            angle = rng.normal(0, 0.12) + (np.pi / 2 if rng.random() < 0.3 else 0)
            at = rng.uniform(0.1, 0.9, 2) * (width, height)
            distance = np.abs((y - at[1]) * np.cos(angle) - (x - at[0]) * np.sin(angle))
            reach = rng.uniform(25, 130)
            relief += rng.normal(0, 9) * np.maximum(0, 1 - distance / reach)
    if rng.random() < 0.35:
        cells = (max(3, height // 110), max(3, width // 110))
        lumps = rng.normal(0, 5, cells).astype(np.float32)
        relief += cv2.resize(lumps, x.shape[::-1], interpolation=cv2.INTER_CUBIC)
    relief *= strength
    slope = max(float(np.abs(np.diff(relief, axis=a)).max()) for a in (0, 1)) / RELIEF_STEP
    return (relief * min(1.0, 0.7 * MAX_SLOPE / max(slope, 1e-9))).astype(np.float32)


def place(
    shape: tuple[int, ...],
    frame: tuple[float, float, float, float],
    *,
    degrees: float,
    perspective: float,
    longest_side_px: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Homography from a sheet `(H, W)` to an image, and the image's `(width, height)`.

    `frame` is `(left, top, right, bottom)` in paper pixels: what the image must show. The
    sheet's corners move by up to `perspective` of its sides before it turns by `degrees`.
    """
    height, width = shape
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    moved = corners + rng.uniform(-perspective, perspective, (4, 2)) * min(width, height)
    tilt = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    radians = np.deg2rad(degrees)
    cos, sin = np.cos(radians), np.sin(radians)
    turn = np.array([(cos, -sin, 0), (sin, cos, 0), (0, 0, 1)]) @ tilt
    left, top, right, bottom = frame
    shown = transform_points([(left, top), (right, top), (right, bottom), (left, bottom)], turn)
    low, extent = shown.min(axis=0), np.ptp(shown, axis=0)
    scale = longest_side_px / float(extent.max())
    size = (max(32, round(float(extent[0]) * scale)), max(32, round(float(extent[1]) * scale)))
    shift = np.array([(scale, 0, -scale * low[0]), (0, scale, -scale * low[1]), (0, 0, 1)])
    return shift @ turn, size
