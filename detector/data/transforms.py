"""Random training crops: one homography for the image and its polygons, then colour.

Zoom, flip, perspective, rotation and crop are multiplied into a single 3 x 3 matrix, so a
page is resampled once and a polygon stays exactly where its word is. Random numbers come
from the caller's generator only, always the same count, so that switching one effect off
does not change the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.data.preprocess import check_image
from detector.data.warp import warp
from detector.errors import InputError
from detector.geometry import transform_points

Points = NDArray[np.float32]
Matrix = NDArray[np.float64]

_STRIDE = 32
_LARGEST_PAGE_PX = 8192  # a rotated one then stays below cv2's limit of 32767 px
_TEXT_CROPS = 0.8  # share of crops placed near a word: uniform ones are often blank paper
_WORD_JITTER = 0.35  # largest distance of that word from the crop's centre, over the crop side
_NEAR_FAR = 0.5  # smallest ratio of far to near scale; keeps the horizon a page away
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Draws one training crop of a page.

    Attributes:
        crop_px: side of the square crop, a multiple of 32; 0 gives the whole page, padded to
            multiples of 32.
        longest_side_px: the page's longest side before the zoom.
        scale_min, scale_max: the zoom is log-uniform between them.
        rotate_deg: rotation about the page's centre, uniform in +- this.
        perspective: displacement of each page corner along x and y, uniform in +- this share
            of the shorter side; halved until the far edge is at least half as large as the
            near one.
        flip: probability of a horizontal flip.
        brightness, contrast, saturation: each factor is uniform in 1 +- this.
        clahe, equalize: probabilities of local and of global histogram equalisation of luma.
        fill: uint8 RGB outside the page. A constant, since repeating the edge would smear
            cut words into unlabelled text; the mean colour, since that is what pads pages at
            evaluation.

    Raises:
        InputError: when the whole page (crop_px 0) could become larger than 8192 px; for
            settings that contradict each other.
    """

    crop_px: int
    longest_side_px: int
    scale_min: float
    scale_max: float
    rotate_deg: float
    perspective: float
    flip: float
    brightness: float
    contrast: float
    saturation: float
    clahe: float
    equalize: float
    fill: tuple[int, int, int] = (124, 116, 104)

    def __post_init__(self) -> None:
        if self.crop_px < 0 or self.crop_px % _STRIDE:
            raise InputError(f"augment.crop_px: must be a multiple of 32, got {self.crop_px}")
        if not 0 < self.scale_min <= self.scale_max:
            raise InputError(
                "augment.scale_min: must be above 0 and not above scale_max, "
                f"got {self.scale_min} and {self.scale_max}"
            )
        if not self.crop_px and self.longest_side_px * self.scale_max > _LARGEST_PAGE_PX:
            raise InputError(
                "augment.crop_px: 0 trains on whole pages, whose side data.longest_side_px * "
                f"augment.scale_max must not exceed {_LARGEST_PAGE_PX} px, got "
                f"{self.longest_side_px} * {self.scale_max}; lower one or set a crop"
            )

    def __call__(
        self, image: NDArray[np.uint8], polygons: Sequence[Points], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], list[Points], Matrix]:
        """One random crop.

        Args:
            image: (H, W, 3) uint8 RGB.
            polygons: (K, 2) xy in pixels of `image`, pixel centres at whole numbers.
            rng: the only source of randomness.

        Returns:
            The (crop_px, crop_px, 3) uint8 crop (any multiples of 32 when crop_px is 0); the
            polygons in its pixels, float32, same number and order, whether inside or not;
            and the (3, 3) float64 matrix that took them there.

        Raises:
            ValueError: `image` is not (H, W, 3) uint8.
            InputError: a polygon lies so far off the page that the camera cannot see it.
        """
        check_image(image)
        draw = rng.random(20)
        matrix, size = self._matrix(image.shape[1], image.shape[0], polygons, draw[:15])
        moved = _move(polygons, matrix)
        crop = warp(image, matrix, size, self.fill)
        return self._colour(crop, draw[15:]), moved, matrix

    def _matrix(
        self, width: int, height: int, polygons: Sequence[Points], draw: NDArray[np.float64]
    ) -> tuple[Matrix, tuple[int, int]]:
        """The homography from page to crop pixels and the (width, height) of the crop."""
        # Up to the last line points are measured from the corner of the first pixel, not
        # from its centre, so that a page of width w spans [0, w].
        view = self._view(width, height, draw[:11])
        outline = transform_points(_corners(width, height) + np.array([width, height]) / 2, view)
        low, high = outline.min(axis=0), outline.max(axis=0)
        size = (self.crop_px, self.crop_px)
        if self.crop_px:
            words = [p for p in polygons if len(p)]
            near = None
            if words and draw[11] < _TEXT_CROPS:
                near = _move([words[int(draw[12] * len(words))] + 0.5], view)[0].mean(axis=0)
            low = self._origin(low, high, near, draw[13:15])
        else:
            # The tolerance keeps rounding errors from adding 32 px of padding.
            cells = np.maximum(1, np.ceil((high - low) / _STRIDE - 1e-3)).astype(int)
            size = (int(cells[0]) * _STRIDE, int(cells[1]) * _STRIDE)
        return _shift(-low - 0.5) @ view @ _shift([0.5, 0.5]), size

    def _view(self, width: int, height: int, draw: NDArray[np.float64]) -> Matrix:
        """Zoom, flip, perspective and rotation; the page's centre becomes the origin."""
        zoom = self.scale_min * (self.scale_max / self.scale_min) ** draw[0]
        scale = zoom * self.longest_side_px / max(width, height)
        angle = math.radians((2 * draw[1] - 1) * self.rotate_deg)
        cos, sin = math.cos(angle), math.sin(angle)
        mirror = -1.0 if draw[2] < self.flip else 1.0
        rotate = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        jitter = (2 * draw[3:11].reshape(4, 2) - 1) * self.perspective * min(width, height)
        return (
            rotate
            @ np.diag([scale * mirror, scale, 1.0])
            @ _perspective(width, height, jitter)
            @ _shift([-width / 2, -height / 2])
        )

    def _origin(
        self,
        low: NDArray[np.float32],
        high: NDArray[np.float32],
        near: NDArray[np.float32] | None,
        draw: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Top-left of the crop: inside a larger page, around a smaller one, per axis."""
        first = np.minimum(low, high - self.crop_px).astype(np.float64)
        last = np.maximum(low, high - self.crop_px).astype(np.float64)
        # A page that fits into the crop goes anywhere in it; otherwise the crop goes
        # anywhere on the page.
        inside = high - low >= self.crop_px
        if near is None:
            return first + (last - first) * draw
        centred = near - self.crop_px / 2 + (2 * draw - 1) * _WORD_JITTER * self.crop_px
        return np.where(inside, np.clip(centred, first, last), first + (last - first) * draw)

    def _colour(self, image: NDArray[np.uint8], draw: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Histogram equalisation by chance, then one random 3 x 4 colour matrix."""
        if draw[3] < self.clahe:
            image = on_luma(image, cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply)
        if draw[4] < self.equalize:
            image = on_luma(image, cv2.equalizeHist)
        ranges = np.array([self.brightness, self.contrast, self.saturation])
        if not ranges.any():
            return image
        brightness, contrast, saturation = 1 + (2 * draw[:3] - 1) * ranges
        return adjust_colour(image, brightness=brightness, contrast=contrast, saturation=saturation)


def adjust_colour(
    image: NDArray[np.uint8], *, brightness: float, contrast: float, saturation: float
) -> NDArray[np.uint8]:
    """Saturation, brightness and contrast, 1 = unchanged, in one pass with one rounding.

    The blends are torchvision's (towards the pixel's luma, black, and the mean luma of the
    image). They are linear, so they are one 3 x 4 matrix. Its mean is a sum of integers;
    torchvision's float mean depends on the number of threads, and with it the crop.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        The same shape, uint8, clipped to [0, 255].
    """
    mean_luma = float(_LUMA @ np.array(cv2.mean(image)[:3]))
    mix = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    offset = (1 - contrast) * brightness * mean_luma
    matrix = np.column_stack([contrast * brightness * mix, np.full(3, offset)])
    return cv2.transform(image, matrix)  # type: ignore[return-value]


def on_luma(
    image: NDArray[np.uint8], change: Callable[[NDArray[np.uint8]], Any]
) -> NDArray[np.uint8]:
    """`change` applied to the luma of an RGB image, (H, W) uint8 to the same, colours kept."""
    planes = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    planes[..., 0] = change(np.ascontiguousarray(planes[..., 0]))
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)  # type: ignore[return-value]


def _move(polygons: Sequence[Points], matrix: Matrix) -> list[Points]:
    """Polygons through the homography; InputError where it would turn them inside out."""
    if not polygons:
        return []
    points = np.concatenate([np.reshape(p, (-1, 2)) for p in polygons]).astype(np.float64)
    depth = points @ matrix[2, :2] + matrix[2, 2]
    if (depth <= 0).any():
        x, y = points[int(depth.argmin())]
        raise InputError(
            f"polygon point ({x:g}, {y:g}) lies so far outside the page that it is behind the "
            "camera of augment.perspective; correct the point or lower augment.perspective"
        )
    ends = np.cumsum([len(p) for p in polygons])
    return np.split(transform_points(points, matrix), ends[:-1])


def _perspective(width: int, height: int, jitter: NDArray[np.float64]) -> Matrix:
    """The homography that displaces the corners of a centred page by (4, 2) `jitter`."""
    corners = _corners(width, height)
    while jitter.any():
        moved = (corners + jitter).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), moved)
        depth = corners @ matrix[2, :2] + matrix[2, 2]
        if depth.min() >= _NEAR_FAR * depth.max():
            return np.asarray(matrix, dtype=np.float64)
        jitter = jitter / 2
    return np.eye(3)


def _corners(width: float, height: float) -> NDArray[np.float64]:
    """(4, 2) corners of a page centred on the origin, clockwise on screen from top-left."""
    return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]


def _shift(by: ArrayLike) -> Matrix:
    matrix = np.eye(3)
    matrix[:2, 2] = by
    return matrix
