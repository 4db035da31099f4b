"""The one definition of what the network sees of a page.

Training, evaluation, prediction and export all use it, and it is saved with the weights. A page
is prepared as a whole (`detector.data.page.prepare`), cropped to its text, resized, normalised,
padded and, when it is large, worked through in tiles. Only the crop needs the network;
`detector.inference` finds it, a training takes it from the annotations.

Coordinates: the centre of pixel (i, j) is the point (i, j), so resizing by a factor s moves
a point to (x + 0.5) * s - 0.5. This is what `cv2.resize` does, and `cv2.warpAffine` with
the matrix returned here; every matrix of this package follows it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from detector.core.errors import InputError
from detector.core.geometry import Box, Points, split, transform_points
from detector.data.page.flatten import Flattening
from detector.data.page.prepare import UNCHANGED, Preparation
from detector.data.page.warp import block_means

_NEEDED = ("longest_side_px", "mean", "std", "stride")
# How pages are resized unless a setting says so. Print is as large as its receipt is wide, so that
# the shorter side decides, and a long receipt keeps the width of a short one.
SHORTEST_SIDE_PX = 736
LONGEST_SIDE_PX = 8192


@dataclass(frozen=True, eq=False)
class Prepared:
    """A page that only the crop, if there is one, still changes.

    image: (H, W, 3) uint8 RGB: at the network's scale, or larger when it will be cropped.
    affine: (2, 3) float64, from points of the page to points of `image`.
    size: (width, height) of the page as it was read.
    flattening: how the page was laid flat before `affine`; None when it was not.
    """

    image: NDArray[np.uint8]
    affine: NDArray[np.float64]
    size: tuple[int, int]
    flattening: Flattening | None

    def move(self, polygons: Sequence[Points]) -> list[Points]:
        """`(K, 2)` points of the page as it was read, in pixels of `image`."""
        if not polygons:
            return []
        points = np.concatenate(polygons)
        flat = points if self.flattening is None else self.flattening.to_flat(points)
        return split(transform_points(flat, self.affine), [len(p) for p in polygons])


@dataclass(frozen=True)
class Preprocess:
    """From a page to the network's input.

    Attributes:
        longest_side_px: the longer side of the page after resizing, up or down.
        mean: per channel, RGB, of images scaled to [0, 1].
        std: the same, all positive.
        stride: height and width of the result are multiples of this.
        shortest_side_px: if given, pages are resized to this shorter side instead, as long as
            the longer does not exceed `longest_side_px`.
        preparation: changes of the whole page before it is resized.
        crop_margin: if given, the page is cropped to the extent of its text and this margin, a
            share of the extent's longer side; the sides above are then those of the crop.
        tile_px: if not 0, inputs larger than this are worked through in tiles of this side.
        tile_overlap_px: what neighbouring tiles share at least.

    Raises:
        InputError: for a value out of range, naming the key.
    """

    longest_side_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stride: int = 32
    shortest_side_px: int | None = None
    preparation: Preparation = UNCHANGED
    crop_margin: float | None = None
    tile_px: int = 0
    tile_overlap_px: int = 128

    def __post_init__(self) -> None:
        for key in ("longest_side_px", "stride", "shortest_side_px"):
            value = getattr(self, key)
            if key == "shortest_side_px" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"preprocess.{key}: must be a whole number >= 1, got {value!r}")
        margin = self.crop_margin
        if margin is not None and not (isinstance(margin, int | float) and 0 <= margin < math.inf):
            raise InputError(
                f"preprocess.crop_margin: must be a number >= 0 or null, got {margin!r}"
            )
        for key in ("mean", "std"):
            object.__setattr__(self, key, _triple(key, getattr(self, key)))
        if min(self.std) <= 0:
            raise InputError(f"preprocess.std: must be three numbers > 0, got {self.std!r}")
        self._check_tiles()

    def _check_tiles(self) -> None:
        tile, overlap = self.tile_px, self.tile_overlap_px
        if tile % self.stride or overlap % self.stride or tile < 0 or overlap < 0:
            raise InputError(
                f"preprocess.tile_px, tile_overlap_px: must be multiples of {self.stride}, "
                f"got {tile} and {overlap}"
            )
        if 0 < tile < 2 * overlap:
            raise InputError(
                f"preprocess.tile_overlap_px: must not exceed half of tile_px, {tile}, "
                f"got {overlap}"
            )

    def prepare(self, image: NDArray[np.uint8], block: int | None = None) -> Prepared:
        """A page as it was read, (H, W, 3) uint8 RGB, up to the crop.

        With `block`, for crops at a scale of their own, it is no more than averaged over squares
        of so many pixels a side. Raises ValueError when `image` is not that, InputError when its
        background cannot be removed for want of a model.
        """
        check_image(image)
        size = (image.shape[1], image.shape[0])
        image, flattening = self.preparation(image, self.fill)
        if block is None and self.crop_margin is None:
            return Prepared(*self.resize(image), size, flattening)
        share = 1 / (block or 1)
        affine = np.array([[share, 0.0, share / 2 - 0.5], [0.0, share, share / 2 - 0.5]])
        return Prepared(block_means(image, block or 1), affine, size, flattening)

    def identity(self, block: int | None = None) -> str:
        """Names what `prepare` does, for a cache of its results; InputError as there."""
        prepared = self.preparation.identity
        done = prepared and f"{prepared} {self.fill}"
        if block is None and self.crop_margin is None:
            return f"{done} sides {self.longest_side_px} {self.shortest_side_px}"
        return f"{done} means of {block or 1}"

    def crop(self, page: Prepared, box: Box | None, share: float = 1.0) -> Prepared:
        """The part `box` (x0, y0, x1, y1; None = all) of `page.image`, resized as in `resize`."""
        x0, y0, x1, y1 = box or (0, 0, page.image.shape[1], page.image.shape[0])
        image, resized = self.resize(page.image[y0:y1, x0:x1], share)
        moved = np.array([[1.0, 0.0, -x0], [0.0, 1.0, -y0]])
        affine = compose(resized, compose(moved, page.affine))
        return replace(page, image=image, affine=affine)

    def __call__(self, image: NDArray[np.uint8]) -> tuple[torch.Tensor, NDArray[np.float64]]:
        """The network's input for an image (H, W, 3) uint8 RGB, and the way there.

        The (3, H', W') float32 that `tensor` makes of the resized image, and the (2, 3) float64
        affine that takes xy points of `image` to points of it.

        Raises:
            ValueError: when `image` is not (H, W, 3) uint8 with at least one pixel.
        """
        check_image(image)
        resized, affine = self.resize(image)
        return self.tensor(resized), affine

    def resize(
        self, image: NDArray[np.uint8], share: float = 1.0
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """An image at the network's scale, or a `share` of that, and the affine of its points."""
        height, width = image.shape[:2]
        size = self.resized(width, height, share)
        if size != (width, height):
            shrinks = size[0] * size[1] < width * height
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            image = cv2.resize(image, size, interpolation=method)  # type: ignore[assignment]
        return image, resize_affine((width, height), size)

    def tensor(self, image: NDArray[np.uint8], device: torch.device | str = "cpu") -> torch.Tensor:
        """(H, W, 3) uint8 RGB as (3, H', W') float32, normalised, on a device.

        Padded right and below with 0 (the mean colour) to multiples of `stride`.
        """
        height, width = image.shape[:2]
        padded = torch.zeros((3, self._ceil(height), self._ceil(width)), device=device)
        padded[:, :height, :width] = self.normalize(image, device)
        return padded

    def normalize(
        self, image: NDArray[np.uint8], device: torch.device | str = "cpu"
    ) -> torch.Tensor:
        """(H, W, 3) uint8 RGB as (3, H, W) float32: (value / 255 - mean) / std."""
        # The device is given bytes, a quarter of what they become.
        tensor = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)
        tensor = tensor.to(torch.float32, memory_format=torch.contiguous_format)
        scaled = torch.tensor(self._scaled(), dtype=torch.float32, device=device)
        mean, std = scaled[..., None, None]
        return tensor.sub_(mean).div_(std)

    def resized(self, width: int, height: int, share: float = 1.0) -> tuple[int, int]:
        """(width, height) of a page after resizing, before padding; each at least 1."""
        scale = share * self.scale(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def padded(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of a page as the network sees it: resized and padded."""
        width, height = self.resized(width, height)
        return self._ceil(width), self._ceil(height)

    def scale(self, width: float, height: float) -> float:
        """What a page of this size is enlarged by."""
        return page_scale(width, height, self.longest_side_px, self.shortest_side_px)

    @property
    def fill(self) -> tuple[int, int, int]:
        """The uint8 RGB colour nearest to the padding."""
        r, g, b = (min(255, max(0, round(255 * m))) for m in self.mean)
        return r, g, b

    def to_dict(self) -> dict[str, Any]:
        """Plain values and lists, for JSON or YAML; `from_dict` is the inverse."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {"mean": list(self.mean), "std": list(self.std)}
        return values | {"preparation": self.preparation.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """What `to_dict` gave, now or before some of its keys existed.

        Raises InputError for missing or unknown keys and bad values.
        """
        known = [field.name for field in fields(cls)]
        missing = [key for key in _NEEDED if key not in values]
        unknown = [str(key) for key in values if key not in known]
        if missing or unknown:
            raise InputError(
                f"preprocess: needs the keys {', '.join(_NEEDED)} and takes "
                f"{', '.join(key for key in known if key not in _NEEDED)}; "
                f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}"
            )
        preparation = Preparation.from_dict(values.get("preparation", {}))
        return cls(**dict(values) | {"preparation": preparation})

    def _ceil(self, size: int) -> int:
        return -(-size // self.stride) * self.stride

    def _scaled(self) -> tuple[list[float], list[float]]:
        return [255 * m for m in self.mean], [255 * s for s in self.std]


def page_scale(width: float, height: float, longest_px: float, shortest_px: float | None) -> float:
    """What takes a page to a longest side; to a shortest, if given, where that is smaller."""
    scale = longest_px / max(width, height)
    return scale if shortest_px is None else min(scale, shortest_px / min(width, height))


def page_sides(
    longest_px: int | None, shortest_px: int | None, share: float = 1.0
) -> tuple[int, int | None]:
    """The longest and shortest side of `page_scale`, where settings leave the longest open.

    They are multiplied by `share`, but for the longest that stands for one left open.
    """
    if longest_px is None:
        shortest_px = SHORTEST_SIDE_PX if shortest_px is None else shortest_px
        return LONGEST_SIDE_PX, round(share * shortest_px)
    return round(share * longest_px), None if shortest_px is None else round(share * shortest_px)


def resize_affine(size: tuple[int, int], new_size: tuple[int, int]) -> NDArray[np.float64]:
    """(2, 3) affine of a resize from (width, height) `size` to `new_size`, exact per axis."""
    sx, sy = new_size[0] / size[0], new_size[1] / size[1]
    return np.array([[sx, 0.0, 0.5 * sx - 0.5], [0.0, sy, 0.5 * sy - 0.5]])


def compose(second: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3) affine that applies `first`, then `second`."""
    return second @ np.vstack([first, [0.0, 0.0, 1.0]])


def check_image(image: NDArray[Any]) -> None:
    """Raises ValueError unless `image` is (H, W, 3) uint8 with at least one pixel."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            "image must be (H, W, 3) uint8 RGB with at least one pixel, "
            f"got {image.shape} {image.dtype}"
        )


def _triple(key: str, value: Any) -> tuple[float, float, float]:
    try:
        r, g, b = (float(v) for v in value)
    except (TypeError, ValueError):
        raise InputError(f"preprocess.{key}: must be three numbers, got {value!r}") from None
    if not all(math.isfinite(v) for v in (r, g, b)):
        raise InputError(f"preprocess.{key}: must be three finite numbers, got {value!r}")
    return r, g, b
