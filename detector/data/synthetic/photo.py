"""A photograph (or scan) of a printed sheet: table, light, folds, lens, sensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.data.synthetic.paper import Paper
from detector.data.synthetic.warp import RELIEF_STEP, Warp, make_relief, place

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

PAPER_TINTS = ((250, 250, 248), (244, 240, 228), (238, 240, 244), (250, 244, 205), (246, 226, 226))
INKS = ((28, 28, 32), (28, 28, 32), (45, 42, 70), (70, 70, 76), (60, 40, 95), (15, 30, 80))
PENS = ((20, 40, 150), (30, 30, 30), (180, 30, 40))
TABLES = (
    (142, 98, 60),
    (92, 62, 42),
    (190, 160, 120),
    (60, 62, 66),
    (200, 200, 198),
    (96, 120, 110),
)


@dataclass(frozen=True, eq=False)
class Photo:
    """`image`: `(H, W, 3)` uint8 RGB; `polygons`: `(K, 2)` xy each, one per word of the paper.

    Polygon points count from pixel centres: (0, 0) is the middle of the first pixel.
    """

    image: Image
    polygons: tuple[NDArray[np.float32], ...]


def photograph(paper: Paper, *, longest_side_px: int, rng: np.random.Generator) -> Photo:
    """Photograph a sheet so that every word is in the picture."""
    scan = bool(rng.random() < 0.15)
    warp = _pose(paper, scan=scan, longest_side_px=longest_side_px, rng=rng)
    grid = warp.grid()
    maps = warp.to_full(grid) - np.float32(0.5)  # remap counts from pixel centres
    table = _scanner_bed(warp.size, rng) if scan else _table(warp.size, rng)
    sheet = _sample(paper.sheet, maps)
    if not scan:
        _drop_shadow(table, sheet, rng)
    lit = _printed(paper, maps, warp.to_full(_shading(warp, grid, rng)), rng)
    alpha = (sheet.astype(np.float32) / 255)[..., None]
    scene = table + (lit - table) * alpha
    if not scan:
        scene *= _light(warp.size, rng)
    image = _camera(scene, longest_side_px / 1024, rng)
    limit = np.array(warp.size, np.float32) - 1
    outlines = warp.outlines(np.array([word.box for word in paper.words]))
    return Photo(image, tuple(np.clip(p - np.float32(0.5), 0, limit) for p in outlines))


def _sample(mask: Image, maps: Floats) -> Image:
    """A paper mask as seen in the image, 0 beyond the sheet."""
    return np.asarray(_remap(mask, maps, borderMode=cv2.BORDER_CONSTANT), np.uint8)


def _remap(image: NDArray[Any], maps: Floats, **options: Any) -> NDArray[Any]:
    remap: Any = cv2.remap  # its type stub does not admit the absent second map
    return np.asarray(remap(image, maps, None, cv2.INTER_LINEAR, **options))


def _pose(paper: Paper, *, scan: bool, longest_side_px: int, rng: np.random.Generator) -> Warp:
    degrees = float(rng.normal(0, 1 if scan else 6))
    kind = rng.random()
    if not scan and kind < 0.08:
        degrees = float(rng.uniform(-35, 35))
    elif not scan and kind < 0.11:
        degrees += float(rng.choice((-90, 90)))
    strength = 0.15 if scan else float(rng.uniform(0.2, 1.0))
    relief = make_relief(paper.ink.shape, strength, rng)
    view = rng.uniform(-0.9, 0.9, 2)
    reach = float(np.abs(relief).max())
    homography, size = place(
        paper.ink.shape,
        _frame(paper, reach + 4, rng),
        degrees=degrees,
        perspective=0.004 if scan else 0.06,
        longest_side_px=longest_side_px,
        rng=rng,
    )
    return Warp(relief, view, homography, size)


def _frame(
    paper: Paper, slack: float, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """What to show: the sheet and some table, or less than the sheet but all of its words."""
    height, width = paper.ink.shape
    boxes = np.array([word.box for word in paper.words] or [(0, 0, width, height)])
    low, high = boxes[:, :2].min(axis=0) - slack, boxes[:, 2:].max(axis=0) + slack
    extra = rng.uniform(-0.04, 0.14, 4) * min(width, height)
    left, top = min(-extra[0], low[0]), min(-extra[1], low[1])
    right, bottom = max(width + extra[2], high[0]), max(height + extra[3], high[1])
    return left, top, right, bottom


def _shading(warp: Warp, grid: Floats, rng: np.random.Generator) -> Floats:
    """Brightness of the sheet on the warp's grid: its slopes towards or away from the light."""
    slope_y, slope_x = np.gradient(warp.relief, RELIEF_STEP)
    angle = rng.uniform(0, 2 * np.pi)
    shade = 1 + rng.uniform(0.6, 2.2) * (slope_x * np.cos(angle) + slope_y * np.sin(angle))
    at = grid / np.float32(RELIEF_STEP)
    limited = np.clip(shade, 0.55, 1.12).astype(np.float32)
    return np.asarray(_remap(limited, at, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _printed(paper: Paper, maps: Floats, shade: Floats, rng: np.random.Generator) -> Floats:
    """The sheet's colours `(H, W, 3)` in 0..255, ink and pen on it, shaded."""
    tint = np.array(PAPER_TINTS[rng.integers(len(PAPER_TINTS))], np.float32)
    tint *= np.float32(rng.uniform(0.86, 1.0))
    ink = np.array(INKS[rng.integers(len(INKS))], np.float32)
    # Thermal print fades: one page in five is faint.
    strength = rng.uniform(0.42, 0.6) if rng.random() < 0.2 else rng.uniform(0.7, 1.0)
    lit = _dyed(_sample(paper.ink, maps), tint, tint + strength * (ink - tint))
    if paper.pen is not None:
        pen = np.array(PENS[rng.integers(len(PENS))], np.float32)
        cover = _sample(paper.pen, maps).astype(np.float32) * np.float32(0.85 / 255)
        lit += cover[..., None] * (pen - lit)
    return np.asarray(cv2.multiply(lit, cv2.merge([shade] * 3)), np.float32)


def _dyed(mask: Image, clear: Floats, full: Floats) -> Floats:
    """Colours `(H, W, 3)` of a mask: `clear` at 0 to `full` at 255."""
    table = np.linspace(clear, full, 256, dtype=np.float32)[:, None]
    return np.asarray(cv2.LUT(cv2.merge([mask] * 3), table), np.float32)


def _noise(size: tuple[int, int], cells: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Smooth noise `(H, W)` with standard deviation about 1, `cells` across and down."""
    shape = (max(2, round(cells[1])), max(2, round(cells[0])))
    coarse = rng.standard_normal(shape, dtype=np.float32)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _wood(size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Grain along one side, darker gaps between boards."""
    across = bool(rng.random() < 0.5)
    w, h = size if across else size[::-1]
    bend = _noise((w, h), (2, 3), rng)
    rings = np.sin(np.linspace(0, rng.uniform(20, 70), h, dtype=np.float32)[:, None] + 2.5 * bend)
    grain = (
        7 * rings + 9 * _noise((w, h), (w / 90, h / 2), rng) + 5 * _noise((w, h), (4, h / 9), rng)
    )
    if rng.random() < 0.5:
        board = rng.uniform(0.12, 0.4) * h
        grain[np.arange(h) % board < 3] -= 35
    return grain if across else np.ascontiguousarray(grain.T)


def _cloth(size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """A weave, perhaps with stripes or checks."""
    w, h = size
    period = rng.uniform(3, 9)
    weave = 6 * np.sin(np.arange(w, dtype=np.float32) * np.float32(2 * np.pi / period))[None]
    weave = (
        weave + 6 * np.sin(np.arange(h, dtype=np.float32) * np.float32(2 * np.pi / period))[:, None]
    )
    if rng.random() < 0.5:
        stripe = int(rng.integers(30, 120))
        weave += 25 * ((np.arange(w) // stripe) % 2)[None]
        weave += 25 * ((np.arange(h) // stripe) % 2)[:, None]
    return np.asarray(weave + 5 * _noise(size, (w / 3, h / 3), rng), np.float32)


def _stone(size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Speckles of several sizes."""
    w, h = size
    speckle = sum(a * _noise(size, (w / c, h / c), rng) for a, c in ((14, 2), (9, 7), (9, 40)))
    return np.asarray(speckle, np.float32)


def _plain(size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """A smooth, slightly uneven surface."""
    return 4 * _noise(size, (3, 3), rng)


TEXTURES: tuple[Callable[[tuple[int, int], np.random.Generator], Floats], ...] = (
    _wood,
    _cloth,
    _stone,
    _plain,
)


def _table(size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """What lies around the sheet, `(H, W, 3)` in 0..255."""
    texture = TEXTURES[rng.integers(len(TEXTURES))](size, rng)
    colour = np.array(TABLES[rng.integers(len(TABLES))], np.float32) * rng.uniform(0.6, 1.1)
    table = np.float32(rng.uniform(0.5, 1.3)) * texture[..., None] + colour.astype(np.float32)
    for _ in range(rng.integers(0, 3)):  # cups, coins, edges of other things
        centre = tuple(int(v) for v in rng.uniform(0, 1, 2) * size)
        radius = int(rng.uniform(0.03, 0.2) * max(size))
        shade = tuple(float(v) for v in rng.uniform(20, 235) + rng.normal(0, 12, 3))
        cv2.circle(table, centre, radius, shade, -1, cv2.LINE_AA)
    return np.asarray(table, np.float32)


def _scanner_bed(size: tuple[int, int], rng: np.random.Generator) -> Floats:
    level = rng.choice((8, 120, 235, 252)) + rng.normal(0, 3)
    return np.full((size[1], size[0], 3), level, np.float32)


def _drop_shadow(table: Floats, sheet: Image, rng: np.random.Generator) -> None:
    """Darken the table beside the sheet, in place."""
    height, width = sheet.shape
    small = cv2.resize(
        sheet, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA
    )
    small = cv2.GaussianBlur(small, (0, 0), rng.uniform(1, 5))
    matrix = np.array([(1, 0, rng.uniform(-3, 3)), (0, 1, rng.uniform(-3, 3))])
    moved = cv2.warpAffine(small, matrix, small.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    shadow = cv2.resize(moved, (width, height)).astype(np.float32)
    table *= (1 - np.float32(rng.uniform(0.2, 0.6) / 255) * shadow)[..., None]


def _light(size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Gain `(H, W, 3)` of the light: falling off across the page, cast shadows, its colour."""
    w, h = size
    small = (max(4, w // 8), max(4, h // 8))
    y, x = np.mgrid[0 : 1 : small[1] * 1j, 0 : 1 : small[0] * 1j].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    gain = rng.uniform(0.78, 1.04) + rng.uniform(0, 0.45) * ramp
    gain -= rng.uniform(0, 0.35) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    if rng.random() < 0.45:  # the shadow of a hand, a phone or a window frame
        mask: NDArray[Any] = np.zeros((small[1], small[0]), np.float32)
        corners = rng.uniform(-0.3, 1.3, (int(rng.integers(3, 6)), 2)) * small
        hull = cv2.convexHull(corners.astype(np.float32)).astype(np.int32)
        cv2.fillConvexPoly(mask, hull, 1.0)
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 8))
        gain *= 1 - rng.uniform(0.15, 0.5) * mask
    full = cv2.resize(np.clip(gain, 0.25, 1.15).astype(np.float32), size)
    warmth = rng.normal(0, 0.045)
    balance = np.array([1 + warmth, 1 + rng.normal(0, 0.01), 1 - warmth], np.float32)
    return np.asarray(full[..., None] * balance, np.float32)


def _camera(image: NDArray[Any], scale: float, rng: np.random.Generator) -> Image:
    """Blur, exposure and sensor noise; `(H, W, 3)` uint8."""
    sigma = rng.uniform(0.0, 0.9) * scale if rng.random() < 0.85 else rng.uniform(0.9, 1.6) * scale
    if sigma > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    if rng.random() < 0.1:
        length = max(3, round(rng.uniform(3, 6) * scale))
        kernel = np.zeros((length, length), np.float32)
        slope = rng.uniform(-0.5, 0.5)
        for k in range(length):
            kernel[round(length / 2 - 0.5 + slope * (k - length / 2 + 0.5)), k] = 1 / length
        image = cv2.filter2D(image, -1, kernel if rng.random() < 0.5 else kernel.T.copy())
    image = np.float32(rng.uniform(0.9, 1.1)) * image
    level = rng.uniform(0.5, 7)
    grain = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(level)
    image = image + grain[..., None]
    if rng.random() < 0.06:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    return np.clip(image, 0, 255).astype(np.uint8)
