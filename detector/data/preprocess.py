"""The one definition of what the network sees: size, padding and normalisation of a page.

Training, evaluation, prediction and export all use it, and it is saved with the weights.

Coordinates: the centre of pixel (i, j) is the point (i, j), so resizing by a factor s moves
a point to (x + 0.5) * s - 0.5. This is what `cv2.resize` does, and `cv2.warpAffine` with
the matrix returned here; every matrix of this package follows it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from detector.errors import InputError

_KEYS = ("longest_side_px", "mean", "std", "stride")


@dataclass(frozen=True)
class Preprocess:
    """Resize, normalise, pad: from a page to the network's input.

    Attributes:
        longest_side_px: the longer side of the page after resizing, up or down.
        mean: per channel, RGB, of images scaled to [0, 1].
        std: the same, all positive.
        stride: height and width of the result are multiples of this.

    Raises:
        InputError: for a value out of range, naming the key.
    """

    longest_side_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stride: int = 32

    def __post_init__(self) -> None:
        for key in ("longest_side_px", "stride"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"preprocess.{key}: must be a whole number >= 1, got {value!r}")
        for key in ("mean", "std"):
            object.__setattr__(self, key, _triple(key, getattr(self, key)))
        if min(self.std) <= 0:
            raise InputError(f"preprocess.std: must be three numbers > 0, got {self.std!r}")

    def __call__(self, image: NDArray[np.uint8]) -> tuple[torch.Tensor, NDArray[np.float64]]:
        """The network's input and the way from the page to it.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (3, H', W') float32, normalised, padded right and below with 0 (the mean colour)
            to multiples of `stride`; and the (2, 3) float64 affine that takes xy points of
            `image` to points of the result.

        Raises:
            ValueError: when `image` is not (H, W, 3) uint8 with at least one pixel.
        """
        check_image(image)
        height, width = image.shape[:2]
        new_width, new_height = self.resized(width, height)
        if (new_width, new_height) != (width, height):
            shrinks = new_width * new_height < width * height
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            image = cv2.resize(image, (new_width, new_height), interpolation=method)  # type: ignore[assignment]
        padded = torch.zeros((3, self._ceil(new_height), self._ceil(new_width)))
        padded[:, :new_height, :new_width] = self.normalize(image)
        return padded, resize_affine((width, height), (new_width, new_height))

    def normalize(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """(H, W, 3) uint8 RGB as (3, H, W) float32: (value / 255 - mean) / std."""
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        tensor = tensor.to(torch.float32, memory_format=torch.contiguous_format)
        mean, std = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in self._scaled())
        return tensor.sub_(mean).div_(std)

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of a page after resizing, before padding; each at least 1."""
        scale = self.longest_side_px / max(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    @property
    def fill(self) -> tuple[int, int, int]:
        """The uint8 RGB colour nearest to the padding."""
        r, g, b = (min(255, max(0, round(255 * m))) for m in self.mean)
        return r, g, b

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON or YAML; `from_dict` is the inverse."""
        return {
            "longest_side_px": self.longest_side_px,
            "mean": list(self.mean),
            "std": list(self.std),
            "stride": self.stride,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """What `to_dict` gave; InputError for missing or unknown keys and bad values."""
        missing = [key for key in _KEYS if key not in values]
        unknown = [str(key) for key in values if key not in _KEYS]
        if missing or unknown:
            raise InputError(
                f"preprocess: needs exactly the keys {', '.join(_KEYS)}; "
                f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}"
            )
        return cls(**dict(values))

    def _ceil(self, size: int) -> int:
        return -(-size // self.stride) * self.stride

    def _scaled(self) -> tuple[list[float], list[float]]:
        return [255 * m for m in self.mean], [255 * s for s in self.std]


def resize_affine(size: tuple[int, int], new_size: tuple[int, int]) -> NDArray[np.float64]:
    """(2, 3) affine of a resize from (width, height) `size` to `new_size`, exact per axis."""
    sx, sy = new_size[0] / size[0], new_size[1] / size[1]
    return np.array([[sx, 0.0, 0.5 * sx - 0.5], [0.0, sy, 0.5 * sy - 0.5]])


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
