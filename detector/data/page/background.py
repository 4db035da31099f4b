"""What of a page is the receipt: found as one bright sheet, or by a network of rembg's kind.

A lost word costs more than some table that stays, so a region that is small, or that is not
clearly a sheet on something darker, is not believed and the page is kept whole; a believed one
is widened.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from detector.core.errors import InputError
from detector.core.files import content_digest, expand_home, file_digest, replacing

Method = Literal["paper", "rembg"]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Salience = Callable[[Image], Image]  # (H, W, 3) RGB to (H, W), high on the salient object

# Of rembg's models those with one file, NAME.onnx, that mark the salient object. Others need
# clicks, mark clothes, or send the page to a service.
MODELS = (
    "u2net",
    "u2netp",
    "silueta",
    "isnet-general-use",
    "birefnet-general",
    "birefnet-general-lite",
    "bria-rmbg",
)

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

_REMEDY = "or set preprocess.background=paper, which needs no network"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of U2-Net's training
_INPUT_PX = 320  # side of U2-Net's input


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
            _load(self.model)

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
            salient = _session(self.model, os.getpid())(image)
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


def find_model(model: str) -> Path:
    """The file of a model, by its path or as rembg stores it; never downloaded.

    Raises InputError when it is missing, is no name of `MODELS`, or rembg is not installed.
    """
    if not _is_path(model):
        return _find_named(model)
    path = expand_home(model)
    if not path.is_file():
        raise InputError(
            f"preprocess.background_model: no such file {model}; give the path of an ONNX file "
            f"or one of {', '.join(MODELS)}, {_REMEDY}"
        )
    return path


def _is_path(model: str) -> bool:
    return model.lower().endswith(".onnx") or os.sep in model


def _find_named(model: str) -> Path:
    if model not in MODELS:
        raise InputError(
            f"preprocess.background_model: must be the path of an ONNX file or one of "
            f"{', '.join(MODELS)}, got {model!r}"
        )
    kind, name = _rembg_class(model), f"{model}.onnx"
    if hasattr(kind, "model_dir"):
        places = [Path(kind.model_dir()) / name, Path(kind.legacy_home()) / name]
    else:  # before rembg gave each model a folder
        places = [Path(kind.u2net_home()) / name]
    for place in places:
        if place.is_file():
            return place
    raise InputError(
        f"preprocess.background_model: the file of {model!r} is missing, expected as {places[0]} "
        "(below U2NET_HOME, or REMBG_HOME); fetch it once with "
        f"`python -c \"import rembg; rembg.new_session('{model}')\"` or copy it there, {_REMEDY}"
    )


def _rembg_class(model: str) -> Any:
    for kind in _optional("rembg.sessions").sessions_class:
        if kind.name() == model:
            return kind
    raise InputError(
        f"preprocess.background_model: the installed rembg has no {model!r}; update it with "
        f"pip install -U 'rembg[cpu]', {_REMEDY}"
    )


def _optional(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, SystemExit) as error:  # rembg exits when onnxruntime is missing
        raise InputError(
            f"preprocess.background=rembg: {name.partition('.')[0]} cannot be imported ({error}); "
            f"pip install -e '.[rembg]', {_REMEDY}"
        ) from None


@cache
def _session(model: str, process: int) -> Salience:  # noqa: ARG001
    """The loaded model; by process, as the threads of a session do not survive a fork."""
    return _load(model)


def _load(model: str) -> Salience:
    """The model as a function from (H, W, 3) uint8 RGB to (H, W) uint8."""
    path = find_model(model)
    runtime = _optional("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    chosen: dict[str, Any] = {"providers": ["CPUExecutionProvider"]}
    try:
        if _is_path(model):
            return _u2net(runtime.InferenceSession(str(path), options, **chosen), path)
        # rembg's classes fetch their file when they are made; this one has it.
        local = {"download_models": classmethod(lambda _, *args, **kwargs: str(path))}  # noqa: ARG005
        session = type("Local", (_rembg_class(model),), local)(model, options, **chosen)
    except InputError:
        raise
    except Exception as error:  # onnxruntime's own classes share no other base
        raise InputError(
            f"preprocess.background_model: onnxruntime cannot load {path} ({error}); copy or "
            f"fetch the file again, {_REMEDY}"
        ) from None
    return lambda image: np.asarray(session.predict(Pillow.fromarray(image))[0])


def _u2net(session: Any, path: Path) -> Salience:
    """What rembg does with a U2-Net of one's own, at the input size that the file asks for."""
    given = session.get_inputs()[0]
    shape = given.shape
    if len(session.get_inputs()) != 1 or len(shape) != 4 or shape[1] not in (3, None):
        raise InputError(
            f"preprocess.background_model: {path} must take one input (1, 3, H, W) as U2-Net "
            f"does, takes {[i.shape for i in session.get_inputs()]}; give another file, {_REMEDY}"
        )
    height, width = (n if isinstance(n, int) else _INPUT_PX for n in shape[2:])

    def salience(image: Image) -> Image:
        page = Pillow.fromarray(image)
        pixels = np.asarray(page.resize((width, height), Pillow.Resampling.LANCZOS)) / 1.0
        scaled = (pixels / max(pixels.max(), 1e-6) - _MEAN) / _STD
        batch = scaled.transpose(2, 0, 1)[None].astype(np.float32)
        try:
            found = session.run(None, {given.name: batch})[0][0, 0]
        except Exception as error:  # as above
            raise InputError(
                f"preprocess.background_model: {path} fails on a page ({error}); it must take "
                f"and give (1, 3 or 1, {height}, {width}) as U2-Net does, {_REMEDY}"
            ) from None
        low, high = found.min(), found.max()
        stretched = (found - low) / max(high - low, 1e-6) * 255
        answer = Pillow.fromarray(stretched.astype(np.uint8))
        return np.asarray(answer.resize(page.size, Pillow.Resampling.LANCZOS))

    return salience


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
