"""Minimum-area rectangles of the regions of a probability map, all at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.core.geometry import Counts, Floats, Points

# A region one pixel thick has an outline without area, yet it covers its pixels.
_MIN_REGION_PX = 1.0


@dataclass(frozen=True, eq=False)
class Boxes:
    """Minimum-area rectangles: `(N, 2)` centres, widths and heights, cosines and sines."""

    centre: Floats
    side: Floats
    turn: Floats

    @classmethod
    def around(cls, contours: Sequence[NDArray[np.int32] | Points]) -> Boxes:
        rows = []
        for contour in contours:
            centre, side, degrees = cv2.minAreaRect(contour)
            angle = math.radians(degrees)
            rows.append((*centre, *side, math.cos(angle), math.sin(angle)))
        table = np.array(rows, np.float64).reshape(-1, 6)
        return cls(table[:, :2], np.maximum(table[:, 2:4], _MIN_REGION_PX), table[:, 4:])

    def measure(self) -> tuple[Floats, Floats]:
        """Areas and lengths of the outlines."""
        width, height = self.side.T
        return width * height, 2 * (width + height)

    def short_sides(self) -> Floats:
        return np.minimum(self.side[:, 0], self.side[:, 1])

    def inset(self, areas: Floats) -> Floats:
        """How far inwards all sides must move for these areas; 0 where one is no smaller."""
        half_length = self.side.sum(axis=1)
        excess = np.maximum(self.side.prod(axis=1) - areas, 0.0)
        return (half_length - np.sqrt(np.maximum(half_length**2 - 4 * excess, 0.0))) / 4

    def grown(self, chosen: NDArray[np.intp], distances: Floats) -> tuple[Floats, Counts]:
        """The corners of the chosen rectangles grown by D: `(4 K, 2)`, and four for each.

        The minimum-area rectangle of a rectangle offset by D with rounded joins is that
        rectangle with its sides moved by D, so no clipping is needed.
        """
        half = self.side[chosen] / 2 + distances[:, None]
        cosine, sine = self.turn[chosen].T
        u = np.stack([cosine, sine], axis=1) * half[:, :1]
        v = np.stack([-sine, cosine], axis=1) * half[:, 1:]
        corners = np.stack([-u - v, u - v, u + v, v - u], axis=1) + self.centre[chosen][:, None]
        return corners.reshape(-1, 2), np.full(len(chosen), 4)
