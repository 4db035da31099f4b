"""Label maps of one page against the per-word loop of DBNet.

`python benchmarks/bench_targets.py [words=54] [side=640] [rounds=60]` prints the processor time
of both on the same words, in one process and in turns, the ratio, and how well the maps agree.
The loop follows arXiv:1911.08947, section 3.4, as the method is commonly programmed: one pass
over the words for the kernels and one for the borders, polygons in whole pixels for the clipper
and for drawing, and the distance of every pixel of the dilated word's box to every side, from
the triangle of the pixel and the side's ends. It takes the nearer end wherever the angle at the
pixel is acute, which is too far off for some pixels near a corner; a second loop has the exact
distance to each side instead. Agreement is measured as follows, as three things differ on purpose:

threshold: with the exact loop, wherever it looks. Its boxes are cut to whole pixels and lose part
    of the outermost band; these pixels are left out and counted.
kernel, mask: the loops round corners to whole pixels and ours does not, so rims differ; printed
    are the overlap (IoU) and the pixels that differ more than two pixels from a rim.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any

import cv2
import numpy as np
import pyclipper
import shapely
from bench_postprocess import word_outlines
from numpy.typing import NDArray
from timing import best_times, run

from detector.data.crops.targets import make_targets

RATIO, LOW, HIGH = 0.4, 0.3, 0.7
DEFAULTS = {"words": 54, "side": 640, "rounds": 60}
Map = NDArray[np.float32]
Maps = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
Floats = NDArray[np.float64]
Words = list[Floats]
SideDistance = Callable[[Floats, Floats, Floats, Floats], Floats]
Box = tuple[int, int, int, int]


def loop(
    words: Words,
    height: int,
    width: int,
    side_distance: SideDistance | None = None,
    boxes: list[Box] | None = None,
) -> Maps:
    """Kernel, threshold map and threshold mask, `(height, width)` float32, word by word.

    `boxes` receives the part of the map that each word is drawn in: x0, y0, x1, y1, exclusive.
    """
    kernel = np.zeros((height, width), np.float32)
    nearness = np.zeros((height, width), np.float32)
    mask = np.zeros((height, width), np.float32)
    for word in words:
        for piece in offset(word, -1):
            cv2.fillPoly(kernel, [np.array(piece, np.int32)], (1.0,))
    for word in words:
        box = border(word, nearness, mask, side_distance or triangle_distance)
        if boxes is not None:
            boxes.append(box)
    return kernel, nearness * (HIGH - LOW) + LOW, mask


def border(word: NDArray[np.float64], nearness: Map, mask: Map, side_distance: SideDistance) -> Box:
    """Draw the band and the mask of one word; returns the box that was looked at."""
    height, width = mask.shape
    polygon = shapely.Polygon(word)
    reach = polygon.area * (1 - RATIO**2) / polygon.length
    grown = np.array(offset(word, 1)[0], np.int32)
    cv2.fillPoly(mask, [grown], (1.0,))
    low, high = grown.min(axis=0), grown.max(axis=0)
    shape = int(high[1] - low[1] + 1), int(high[0] - low[0] + 1)
    xs = np.broadcast_to(np.arange(shape[1], dtype=np.float64)[None, :], shape)
    ys = np.broadcast_to(np.arange(shape[0], dtype=np.float64)[:, None], shape)
    moved = word - low
    sides = np.zeros((len(word), *shape), np.float32)
    for k in range(len(word)):
        far = side_distance(xs, ys, moved[k], moved[(k + 1) % len(word)])
        sides[k] = np.clip(far / reach, 0, 1)
    near = 1 - sides.min(axis=0)
    x0, x1 = np.clip([low[0], high[0] + 1], 0, width).tolist()
    y0, y1 = np.clip([low[1], high[1] + 1], 0, height).tolist()
    nearness[y0:y1, x0:x1] = np.fmax(
        near[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]], nearness[y0:y1, x0:x1]
    )
    return x0, y0, x1, y1


def offset(word: NDArray[np.float64], sign: int) -> list[list[list[int]]]:
    """The word moved outwards (1) or inwards (-1) by its shrink distance."""
    polygon = shapely.Polygon(word)
    distance = polygon.area * (1 - RATIO**2) / polygon.length
    clipper = pyclipper.PyclipperOffset()
    path = [tuple(point) for point in word.tolist()]
    clipper.AddPath(path, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return clipper.Execute(sign * distance)


def triangle_distance(xs: Floats, ys: Floats, start: Floats, end: Floats) -> Floats:
    """Height of the triangle of a pixel and both ends; the nearer end if its angle is acute."""
    one = np.square(xs - start[0]) + np.square(ys - start[1])
    other = np.square(xs - end[0]) + np.square(ys - end[1])
    side = np.square(start[0] - end[0]) + np.square(start[1] - end[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = (one + other - side) / (2 * np.sqrt(one * other))
    sine_squared = np.nan_to_num(1 - np.square(cosine))
    height = np.sqrt(np.maximum(one * other * sine_squared / side, 0))
    acute = cosine > 0
    height[acute] = np.sqrt(np.fmin(one, other))[acute]
    return height


def exact_distance(xs: Floats, ys: Floats, start: Floats, end: Floats) -> Floats:
    """Distance of every pixel of a grid to the side from `start` to `end`."""
    x, y = end - start
    along = ((xs - start[0]) * x + (ys - start[1]) * y) / (x * x + y * y)
    along = np.clip(along, 0, 1)
    return np.hypot(xs - start[0] - along * x, ys - start[1] - along * y)


def ours(words: Words, height: int, width: int) -> Maps:
    maps = make_targets(
        words,
        [False] * len(words),
        height,
        width,
        shrink_ratio=RATIO,
        threshold_min=LOW,
        threshold_max=HIGH,
    )
    return maps.shrink, maps.threshold, maps.threshold_mask


def lost_bands(words: Words, boxes: list[Box], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels that a word's dilated outline may reach though the loop's box leaves them out."""
    lost = np.zeros((height, width), bool)
    for word, (x0, y0, x1, y1) in zip(words, boxes, strict=True):
        polygon = shapely.Polygon(word)
        distance = polygon.area * (1 - RATIO**2) / polygon.length
        left, top = np.maximum(np.floor(word.min(axis=0) - distance), 0).astype(int)
        right, bottom = np.ceil(word.max(axis=0) + distance).astype(int)
        part = np.zeros_like(lost)
        part[top : bottom + 1, left : right + 1] = True
        part[y0:y1, x0:x1] = False
        lost |= part
    return lost


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[float, int]:
    """IoU of two binary maps, and how many pixels differ more than two pixels from a rim."""
    iou = ((one > 0) & (other > 0)).sum() / max(1, ((one > 0) | (other > 0)).sum())
    around = np.ones((5, 5), np.uint8)
    inner, outer = cv2.erode(other, around), cv2.dilate(other, around)
    return float(iou), int(((one > outer) | (one < inner)).sum())


def main(options: dict[str, Any]) -> None:
    side, rounds = options["side"], options["rounds"]
    words = word_outlines(options["words"], side)
    cv2.setNumThreads(1)
    calls = [
        lambda: loop(words, side, side),
        lambda: loop(words, side, side, exact_distance),
        lambda: ours(words, side, side),
    ]
    slow, exact, fast = (1000 * t for t in best_times(calls, rounds, process_time))
    print(f"{side} x {side} maps, {len(words)} words, one thread, best of {rounds}")
    print(f"ours           {fast:6.2f} ms")
    print(f"loop           {slow:6.2f} ms {slow / fast:5.1f}x")
    print(f"loop, exact    {exact:6.2f} ms {exact / fast:5.1f}x")
    boxes: list[Box] = []
    expected, found = loop(words, side, side, exact_distance, boxes), ours(words, side, side)
    lost = lost_bands(words, boxes, side, side)
    error = np.abs(expected[1] - found[1])
    rough = np.abs(expected[1] - loop(words, side, side)[1])
    print(
        f"threshold map: largest difference {error[~lost].max():.1e} (the loop's own error "
        f"{rough.max():.1e}); {100 * (error[lost] > 1e-3).mean():.2f} % of the "
        f"{100 * lost.mean():.1f} % of pixels outside its boxes lost"
    )
    for name, k in (("kernel", 0), ("threshold mask", 2)):
        iou, far = overlap(found[k], expected[k])
        print(f"{name}: IoU {iou:.3f}, pixels that differ away from a rim: {far}")


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
