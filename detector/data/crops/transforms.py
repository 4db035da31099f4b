"""Random training crops: one map for the image and its polygons, then words, colour and camera.

Zoom, flip, perspective, rotation and crop are multiplied into a single 3 x 3 matrix, and the
spline that crumples a page is composed with it, so a page is resampled once and a polygon stays
exactly where its word is. Random numbers come from the caller's generator only, those of the
crumpling last and all others always in the same count; words pasted and camera have generators
spawned of it. So switching one effect off does not change the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.core.errors import InputError
from detector.core.geometry import split, transform_points
from detector.data.crops.camera import EFFECTS, photographed
from detector.data.crops.paste import paste_words
from detector.data.page.colour import adjust_colour, equalize, equalize_locally
from detector.data.page.preprocess import check_image, page_scale
from detector.data.page.spline import MAX_SLOPE, Bend, fit_bend, resample
from detector.data.page.warp import warp

Points = NDArray[np.float32]
Matrix = NDArray[np.float64]

_STRIDE = 32
# A rotated one whose corners have moved by 0.3 of its shorter side then stays below cv2's limit of
# 32767 px, at 12288 * 1.6 * sqrt(2) = 27805; 8192 px, the largest setting, fit at a zoom of 1.5.
_LARGEST_PAGE_PX = 12288
_TEXT_CROPS = 0.8  # share of crops placed near a word: uniform ones are often blank paper
_WORD_JITTER = 0.35  # largest distance of that word from the crop's centre, over the crop side
_NODES = 4  # control points of a crumpled page along each side: some folds, not each wrinkle
_PIECES = 6  # between two of them; what an outline's pieces bend is then about a pixel at most
_MOST_PIECES = 64  # of an edge, however far it runs
_NEAR_FAR = 0.5  # smallest ratio of far to near scale; keeps the horizon a page away


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Draws one training crop of a page.

    Attributes:
        crop_px: side of the square crop, a multiple of 32; 0 gives the whole page, padded to
            multiples of 32.
        longest_side_px, shortest_side_px: the page's size before the zoom, see `page_scale`.
        scale_min, scale_max: the zoom is log-uniform between them.
        rotate_deg: rotation about the page's centre, uniform in +- this.
        perspective: displacement of each page corner along x and y, uniform in +- this share
            of the shorter side; halved until the far edge is at least half as large as the
            near one.
        crumple: displacement of 4 x 4 control points over the page along x and y, uniform in +-
            this share of the shorter side; in between a thin-plate spline. Less where the
            page would fold over.
        flip: probability of a horizontal flip.
        brightness, contrast, saturation: each factor is uniform in 1 +- this.
        clahe, equalize: probabilities of local and of global histogram equalisation of luma.
        paste: probability that words are pasted, see `detector.data.crops.paste`.
        shadow, blur, noise, gamma, jpeg: see `detector.data.crops.camera.photographed`.
        fill: uint8 RGB outside the page. A constant, since repeating the edge would smear
            cut words into unlabelled text; the mean colour, since that is what pads pages at
            evaluation.

    Raises:
        InputError: when the whole page (crop_px 0) could become larger than 12288 px; for
            settings that contradict each other.
    """

    crop_px: int
    longest_side_px: int
    shortest_side_px: int | None = None
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
    crumple: float = 0.0
    paste: float = 0.0
    shadow: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    gamma: float = 0.0
    jpeg: float = 0.0
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
        self,
        image: NDArray[np.uint8],
        polygons: Sequence[Points],
        rng: np.random.Generator,
        ignore: Sequence[bool] | None = None,
    ) -> tuple[NDArray[np.uint8], list[Points], Matrix]:
        """One random crop.

        Args:
            image: (H, W, 3) uint8 RGB.
            polygons: (K, 2) xy in pixels of `image`, pixel centres at whole numbers.
            rng: the only source of randomness.
            ignore: a flag per polygon: don't-care, never pasted; None for none.

        Returns:
            The (crop_px, crop_px, 3) uint8 crop (any multiples of 32 when crop_px is 0); the
            polygons in its pixels, float32, same number and order, whether inside or not, and
            after them those of words that were pasted; and the (3, 3) float64 matrix that took
            them there. With `crumple` that is the matrix from the crumpled page, and polygons
            have more points where one bends.

        Raises:
            ValueError: `image` is not (H, W, 3) uint8.
            InputError: a polygon lies so far off the page that the camera cannot see it.
        """
        check_image(image)
        draw = rng.random(20)
        height, width = image.shape[:2]
        half = np.array([width, height]) / 2
        outline = (_corners(width, height) + half - 0.5).astype(np.float32)
        if not self.crumple:
            matrix, size = self._matrix(width, height, outline, polygons, draw[:15])
            crop = warp(image, matrix, size, self.fill)
        else:
            bend = self._bend(width, height, rng.random((_NODES**2, 2)))
            piece = min(width, height) / (_NODES - 1) / _PIECES
            outline, *polygons = _bent([outline, *polygons], bend, piece)
            matrix, size = self._matrix(width, height, outline, polygons, draw[:15])
            inverse = np.linalg.inv(matrix)
            crop = resample(image, lambda p: bend(transform_points(p, inverse)), size, self.fill)
        moved = _move(polygons, matrix)
        pasting, camera = rng.spawn(2)
        if pasting.random() < self.paste:
            edge, flags = _move([outline], matrix)[0], ignore or [False] * len(moved)
            crop, added = paste_words(crop, moved, flags, edge, pasting)
            moved += added
        effects = {name: getattr(self, name) for name in EFFECTS}
        return photographed(self._colour(crop, draw[15:]), camera, **effects), moved, matrix

    def _bend(self, width: int, height: int, draw: NDArray[np.float64]) -> Bend:
        """From points of the crumpled page to the page's; `draw` is uniform in [0, 1)."""
        box = np.array([(0, 0), (width, height)]) - 0.5
        axes = [np.linspace(low, high, _NODES) for low, high in box.T]
        nodes = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
        bend = fit_bend(nodes, (2 * draw - 1) * self.crumple * min(width, height), box)
        return bend.scaled(min(1.0, MAX_SLOPE / max(bend.slope(), 1e-9)))

    def _matrix(
        self,
        width: int,
        height: int,
        outline: Points,
        polygons: Sequence[Points],
        draw: NDArray[np.float64],
    ) -> tuple[Matrix, tuple[int, int]]:
        """The homography from page to crop pixels and the (width, height) of the crop.

        outline: (K, 2), the edge of the page.
        """
        # Up to the last line points are measured from the corner of the first pixel, not
        # from its centre, so that a page of width w spans [0, w].
        view = self._view(width, height, draw[:11])
        outline = transform_points(outline + 0.5, view)
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
        scale = zoom * page_scale(width, height, self.longest_side_px, self.shortest_side_px)
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
            image = equalize_locally(image)
        if draw[4] < self.equalize:
            image = equalize(image)
        ranges = np.array([self.brightness, self.contrast, self.saturation])
        if not ranges.any():
            return image
        brightness, contrast, saturation = 1 + (2 * draw[:3] - 1) * ranges
        return adjust_colour(image, brightness=brightness, contrast=contrast, saturation=saturation)


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
    return split(transform_points(points, matrix), [len(p) for p in polygons])


def _bent(polygons: Sequence[Points], bend: Bend, piece: float) -> list[Points]:
    """Where the points of a page are once it is crumpled, with one more every `piece` px.

    A straight edge becomes a curve, which the two ends alone do not tell.
    """
    dense = [_densified(np.asarray(p, np.float64).reshape(-1, 2), piece) for p in polygons]
    moved = bend.inverse(np.concatenate(dense)).astype(np.float32)
    return split(moved, [len(p) for p in dense])


def _densified(polygon: NDArray[np.float64], piece: float) -> NDArray[np.float64]:
    """A (K, 2) outline whose edges are cut into equal pieces, none longer than `piece`."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    lengths = np.hypot(edges[:, 0], edges[:, 1])
    counts = np.clip(np.ceil(lengths / piece), 1, _MOST_PIECES).astype(int)
    shares = np.concatenate([np.arange(n) / n for n in counts]) if len(counts) else np.zeros(0)
    return np.repeat(polygon, counts, axis=0) + shares[:, None] * np.repeat(edges, counts, axis=0)


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
