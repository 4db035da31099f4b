"""What of a page is the receipt: found as one bright sheet, or by a network of rembg's kind.

A lost word costs more than some table that stays, so a region that is small, or that is not
clearly a sheet on something darker, is not believed and the page is kept whole; a believed one
is widened.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from detector.core.files import content_digest, file_digest, replacing
from detector.data.page.salience import Image, find_model, load_model, salience_of

Method = Literal["paper", "rembg"]
Mask = NDArray[np.bool_]

VERSION = 1  # of kept masks; raise it when the same page would get another one
_SIDE = 512  # px, longest side of masks, and of the copy on which paper is sought
_SMALLEST = 0.15  # share of the page that a receipt fills at least
_MARGIN = 0.02  # of the longest side, by which a region is widened
_PRINT = 0.06  # of the longest side, dark things up to this wide are print on the paper
_NOISE = 0.01  # of the longest side, width of the median that smooths
_RING = 0.02  # of the longest side, how far from the outline both sides of it are compared
_STEP = 25.0  # levels by which paper is brighter across its outline ...
_DOUBTFUL = 0.1  # ... except at this share of it
_UNEVEN = 0.4  # of the contrast to the paper, the surroundings' own contrast at most


@dataclass(frozen=True)
class BackgroundRemover:
    """Blanks what is not the receipt. Small to pickle; networks are loaded once per process.

    Attributes:
        method: "paper", the one bright sheet of the page, or "rembg", the salient object as a
            network sees it.
        model: for "rembg", one of `MODELS` (https://github.com/danielgatis/rembg), or the path
            of an ONNX file that takes and gives what U2-Net does (arXiv:2005.09007).
        cache: folder for masks, one bit a pixel, at most 32 KiB each; None keeps none.
    """

    method: Method
    model: str = "u2net"
    cache: Path | None = None

    def check(self) -> None:
        """Load the model once, so that a fault shows before the work starts.

        Nothing is downloaded. Raises InputError when a package or the model's file is missing
        or the model cannot be loaded.
        """
        if self.method == "rembg":
            load_model(self.model)

    @property
    def identity(self) -> str:
        """Names method and content of the model, for a cache; InputError as in `check`."""
        if self.method == "paper":
            return f"paper-{VERSION}"
        return f"rembg-{VERSION}-{self.model}-{file_digest(find_model(self.model))}"

    def __call__(self, image: Image, fill: tuple[int, int, int]) -> Image:
        """A copy of `image`, (H, W, 3) uint8 RGB, with `fill` wherever the receipt is not.

        Raises InputError as `check` does, or when the model fails on the page.
        """
        blanked = image.copy()
        blanked[~self.mask(image)] = fill
        return blanked

    def mask(self, image: Image) -> Mask:
        """Where the receipt is, (H, W) bool; True everywhere when that is not certain.

        Raises InputError as a call does.
        """
        height, width = image.shape[:2]
        scale = min(1.0, _SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = self._small_mask(image, size).astype(np.uint8)
        return cv2.resize(small * 255, (width, height), interpolation=cv2.INTER_LINEAR) >= 128

    def _small_mask(self, image: Image, size: tuple[int, int]) -> Mask:
        """The mask at (width, height) `size`, read from the cache or found and kept there."""
        if self.cache is None:
            return self._find(image, size)
        content = f"{self.identity} {image.shape}".encode() + image.tobytes()
        path = self.cache / f"{content_digest(content)}.png"
        mask = _read(path, size)
        if mask is None:
            mask = self._find(image, size)
            _write(path, mask)
        return mask

    def _find(self, image: Image, size: tuple[int, int]) -> Mask:
        if self.method == "paper":
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            region = find_paper(np.asarray(small, np.uint8))
        else:
            salient = salience_of(self.model, os.getpid())(image)
            region = cv2.resize(salient, size, interpolation=cv2.INTER_AREA) >= 128
        if region.mean() < _SMALLEST:
            return np.ones_like(region)
        return _widened(region)


def find_paper(image: Image) -> Mask:
    """The convex bright sheet of a small page, (H, W, 3) uint8 RGB to (H, W) bool.

    Bright and colourless is what is high in every channel, so their minimum is split by Otsu's
    threshold. True everywhere when there is nothing beside a sheet, when the hull of the bright
    is not followed by a step down almost all around, and when what is outside is itself bright
    in one part and dark in another: then a shadow may lie across the receipt.
    """
    level = _without_print(image.min(axis=2))
    outline = _brightest_region(level)
    if outline is not None:
        filled = np.zeros(level.shape, np.uint8)
        sheet = cv2.fillConvexPoly(filled, cv2.convexHull(outline), 1) > 0
        if _is_certain(level, sheet):
            return sheet
    return np.ones(level.shape, np.bool_)


def find_outline(image: Image) -> NDArray[np.int32] | None:
    """Outline of the bright sheet of a small page, (H, W, 3) uint8 RGB to (K, 2) int32 xy.

    Its outermost pixels in turn; bent paper need not be convex. None where `find_paper`, judging
    by this outline instead of its hull, would be in doubt.
    """
    level = _without_print(image.min(axis=2))
    outline = _brightest_region(level)
    if outline is None or not _is_certain(level, _filled(outline, level.shape)):
        return None
    return outline


def _is_certain(level: Image, sheet: Mask) -> bool:
    return not sheet.all() and _ends_in_steps(level, sheet) and not _is_uneven(level, sheet)


def _without_print(level: Image) -> Image:
    """Brightness of the paper: what is dark and thin is closed, noise smoothed."""
    side = max(level.shape)
    reach = max(1, round(_PRINT * side / 2))
    border = (reach,) * 4
    framed = cv2.copyMakeBorder(level, *border, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(framed, cv2.MORPH_CLOSE, _disc(reach))[reach:-reach, reach:-reach]
    return np.asarray(cv2.medianBlur(np.ascontiguousarray(closed), round(_NOISE * side) | 1))


def _brightest_region(level: Image) -> NDArray[np.int32] | None:
    """Outline of the largest region above Otsu's threshold, (K, 2) xy; None without any."""
    _, bright = cv2.threshold(level, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    return np.asarray(max(outlines, key=cv2.contourArea)[:, 0], np.int32)


def _filled(outline: NDArray[Any], shape: tuple[int, ...]) -> Mask:
    """The inside of (K, 2) xy points in turn, in an image of `shape`."""
    sheet = np.zeros(shape, np.uint8)
    cv2.fillPoly(sheet, [outline], 1)
    return sheet > 0


def _ends_in_steps(level: Image, sheet: Mask) -> bool:
    """Whether the sheet is brighter just inside than just outside, almost all around."""
    side = 2 * max(1, round(_RING * max(level.shape))) + 1

    def total(values: NDArray[Any]) -> NDArray[np.float32]:
        around = cv2.boxFilter(
            values.astype(np.float32),
            -1,
            (side,) * 2,
            normalize=False,
            borderType=cv2.BORDER_CONSTANT,
        )
        return np.asarray(around, np.float32)

    inside, outside = total(sheet), total(~sheet)
    edge = sheet & (cv2.erode(sheet.astype(np.uint8), _disc(1)) == 0)
    edge &= outside > 0.2 * side**2  # elsewhere the page ends with the sheet
    if not edge.any():
        return False
    step = (total(level * sheet) / np.maximum(inside, 1))[edge]
    step -= (total(level * ~sheet) / np.maximum(outside, 1))[edge]
    return bool(np.quantile(step, _DOUBTFUL) >= _STEP)


def _is_uneven(level: Image, sheet: Mask) -> bool:
    """Whether the surroundings differ among themselves nearly as from the sheet."""
    around = level[~_widened(sheet)]
    if not around.size:
        return False
    threshold, _ = cv2.threshold(around[None], 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    bright = around > threshold
    if bright.all() or not bright.any():
        return False
    gap = around[bright].mean() - around[~bright].mean()
    return bool(gap > _UNEVEN * (level[sheet].mean() - around.mean()))


def _widened(region: Mask) -> Mask:
    reach = round(_MARGIN * max(region.shape))
    return cv2.dilate(region.astype(np.uint8), _disc(reach)) > 0


def _disc(radius: int) -> Image:
    shape = (2 * radius + 1,) * 2
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, shape), np.uint8)


def _read(path: Path, size: tuple[int, int]) -> Mask | None:
    """A kept mask; None when it is missing, damaged or of another (width, height)."""
    try:
        with Pillow.open(path) as picture:
            picture.verify()  # checksums, which reading pixels passes over
        with Pillow.open(path) as picture:
            whole = picture.mode == "1" and picture.size == size
            return np.array(picture) if whole else None
    except (OSError, SyntaxError, ValueError):  # Pillow's ways to say that a file is damaged
        return None


def _write(path: Path, mask: Mask) -> None:
    try:
        with replacing(path) as temporary:
            Pillow.fromarray(mask).save(temporary, format="PNG")
    except OSError as error:
        _warn(f"preprocess.background: cannot write to {path.parent} ({error.strerror})")


@cache
def _warn(message: str) -> None:
    print(f"{message}; masks are found anew each time", file=sys.stderr, flush=True)
