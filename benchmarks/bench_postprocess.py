"""Post-processing of one map against the usual per-contour procedure of DBNet.

`python benchmarks/bench_postprocess.py [words=54] [side=640] [rounds=150]` prints the processor
time of both on the same map, in one process and in turns, the ratio, and how well the words
agree (number of words of each, mean IoU of the best matches; the reference rounds to pixels).
The reference follows arXiv:1911.08947, section 3.5, as the method is commonly programmed:
one contour at a time, each with its own mask, polygon objects and rectangles.

Then the growth alone is compared with `shapely.buffer` on all outlines at once, simplified and
not, with the number of polygons that differ by more than `SAME_PX`.
"""

from __future__ import annotations

from functools import partial
from time import process_time
from typing import Any

import cv2
import numpy as np
import pyclipper
import shapely
from numpy.typing import NDArray
from timing import best_times, run

from detector.config.settings import PostprocessConfig
from detector.core.geometry import Counts, Floats, measures, offset_largest
from detector.data.crops.targets import make_targets
from detector.postprocess.polygons import detect, find_candidates

Boxes = list[NDArray[Any]]
PAGE = (1000, 1000)  # width, height of the page that the map shows
DEFAULTS = {"words": 54, "side": 640, "rounds": 150}
THRESH, BOX_THRESH, UNCLIP, MIN_SIDE, LIMIT = 0.3, 0.5, 1.6, 3.0, 1000
ARC_PX, SAME_PX = 0.1, 0.25
SETTINGS = PostprocessConfig(
    thresh=THRESH,
    box_thresh=BOX_THRESH,
    unclip_ratio=UNCLIP,
    min_side_px=MIN_SIDE,
    max_candidates=LIMIT,
).model_dump()


def word_outlines(words: int, side: int, seed: int = 0) -> Boxes:
    """Rectangles `(4, 2)` of `words` words in rows on a `(side, side)` page."""
    rng = np.random.default_rng(seed)
    columns = max(1, round((words / 1.5) ** 0.5))
    rows = -(-words // columns)
    cell = side / np.array([columns, rows])
    outlines = []
    for k in range(words):
        centre = (np.array([k % columns, k // columns]) + 0.5) * cell + rng.uniform(-2, 2, 2)
        height = rng.uniform(12, 24)
        half = np.minimum([height * rng.uniform(0.6, 2.2), height / 2], 0.45 * cell)
        angle = np.radians(rng.normal(0, 2))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        outlines.append(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half @ turn + centre)
    return outlines


def word_map(outlines: Boxes, side: int, seed: int = 0) -> NDArray[np.float32]:
    """A `(side, side)` map as a trained network gives it: soft, uneven kernels of the words."""
    rng = np.random.default_rng([seed, 1])
    kernels = make_targets(outlines, [False] * len(outlines), side, side).shrink
    soft = cv2.GaussianBlur(kernels, (0, 0), 1.2)
    uneven = cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), 2.0)
    logits = 9 * (soft - 0.5) + 0.6 * uneven / uneven.std()
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def ours(probability: NDArray[np.float32], shape: str) -> Boxes:
    settings = SETTINGS | {"shape": shape}
    affine = np.eye(2, 3) * (probability.shape[1] / PAGE[0])
    return detect(probability, **settings, affine=affine, size=PAGE).polygons


def reference(probability: NDArray[np.float32], shape: str) -> Boxes:
    binary = ((probability > THRESH) * 255).astype(np.uint8)
    contours, _ = cv2.findContours(binary, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    one = reference_quad if shape == "quad" else reference_polygon
    found = []
    for contour in contours[:LIMIT]:
        box = one(probability, contour)
        if box is None:
            continue
        height, width = probability.shape
        box[:, 0] = np.clip(np.round(box[:, 0] / width * PAGE[0]), 0, PAGE[0])
        box[:, 1] = np.clip(np.round(box[:, 1] / height * PAGE[1]), 0, PAGE[1])
        found.append(box.astype(np.int32))
    return found


def reference_quad(p: NDArray[np.float32], contour: NDArray[Any]) -> NDArray[Any] | None:
    box, short = smallest_box(contour)
    if short < MIN_SIDE or box_score(p, box) < BOX_THRESH:
        return None
    grown = unclip(box)
    if len(grown) != 1:
        return None
    box, short = smallest_box(np.array(grown[0]).reshape(-1, 1, 2))
    return None if short < MIN_SIDE + 2 else box


def reference_polygon(p: NDArray[np.float32], contour: NDArray[Any]) -> NDArray[Any] | None:
    points = cv2.approxPolyDP(contour, 0.002 * cv2.arcLength(contour, True), True).reshape(-1, 2)
    if len(points) < 4 or box_score(p, points) < BOX_THRESH:
        return None
    grown = unclip(points)
    if len(grown) != 1:
        return None
    outline = np.array(grown[0], dtype=np.float64).reshape(-1, 2)
    _, short = smallest_box(outline.astype(np.float32).reshape(-1, 1, 2))
    return None if short < MIN_SIDE + 2 else outline


def smallest_box(points: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """The minimum-area rectangle as four points from the top-left, and its short side."""
    rect = cv2.minAreaRect(points)
    left, right = np.split(np.array(sorted(cv2.boxPoints(rect).tolist())), 2)
    left, right = left[np.argsort(left[:, 1])], right[np.argsort(right[:, 1])]
    return np.array([left[0], right[0], right[1], left[1]], np.float32), min(rect[1])


def box_score(p: NDArray[np.float32], points: NDArray[Any]) -> float:
    height, width = p.shape
    x0, x1 = np.clip([np.floor(points[:, 0].min()), np.ceil(points[:, 0].max())], 0, width - 1)
    y0, y1 = np.clip([np.floor(points[:, 1].min()), np.ceil(points[:, 1].max())], 0, height - 1)
    x0, x1, y0, y1 = int(x0), int(x1), int(y0), int(y1)
    mask = np.zeros((y1 - y0 + 1, x1 - x0 + 1), np.uint8)
    moved = (points - np.array([x0, y0])).astype(np.int32).reshape(1, -1, 2)
    cv2.fillPoly(mask, moved, (1,))
    return cv2.mean(p[y0 : y1 + 1, x0 : x1 + 1], mask)[0]


def unclip(points: NDArray[Any]) -> list[list[list[int]]]:
    polygon = shapely.Polygon(points)
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(points, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return offset.Execute(polygon.area * UNCLIP / polygon.length)


def grown_by_shapely(points: Floats, counts: Counts, distances: Floats) -> tuple[Floats, Counts]:
    """As `offset_largest`, by `shapely.buffer`; each arc has the chords that its radius needs."""
    owner = np.repeat(np.arange(len(counts)), counts)
    shapes = np.asarray(shapely.polygons(shapely.linearrings(points, indices=owner)))
    chords = np.ceil(np.pi / 4 / np.arccos(np.maximum(0, 1 - ARC_PX / distances))).astype(int)
    grown: NDArray[Any] = np.empty(len(shapes), object)
    for number in np.unique(chords).tolist():  # buffer takes one number for all
        some = chords == number
        grown[some] = shapely.buffer(shapes[some], distances[some], quad_segs=number)
    parts, of = shapely.get_parts(grown, return_index=True)
    order = np.lexsort((-shapely.area(parts), of))
    rings = shapely.get_exterior_ring(parts[order][np.unique(of[order], return_index=True)[1]])
    sizes = shapely.get_num_coordinates(rings)
    corners = np.delete(shapely.get_coordinates(rings), np.cumsum(sizes) - 1, axis=0)
    found = np.zeros(len(shapes), np.intp)
    found[np.unique(of)] = sizes - 1
    return corners, found


def compare_growth(probability: NDArray[np.float32], epsilon: float, rounds: int) -> str:
    """One line: times, their ratio, and how many polygons differ."""
    candidates = find_candidates(
        probability, thresh=THRESH, score_mode="fast", dilate=False, epsilon=epsilon
    )
    outlines = candidates.simplified(epsilon)
    counts = np.array([len(outline) for outline in outlines])
    points = np.concatenate(outlines).astype(np.float64)
    area, length = measures(points, counts)
    thick = area > 0
    points, counts = points[np.repeat(thick, counts)], counts[thick]
    distances = area[thick] * UNCLIP / length[thick]
    calls = [
        partial(offset_largest, points, counts, distances, ARC_PX),
        partial(grown_by_shapely, points, counts, distances),
    ]
    slow, fast = (1000 * t for t in best_times(calls, rounds, process_time))
    one, other = (
        [shapely.LinearRing(p) if len(p) > 2 else None for p in np.split(points, np.cumsum(n)[:-1])]
        for points, n in (call() for call in calls)
    )
    apart = shapely.hausdorff_distance(one, other, densify=0.2)
    differ = np.count_nonzero(~(apart <= SAME_PX))
    return (
        f"growth, epsilon {epsilon:g}: pyclipper {slow:.2f} ms, shapely {fast:.2f} ms, ratio "
        f"{slow / fast:.2f}x; {differ} of {len(counts)} polygons differ"
    )


def agreement(found: Boxes, expected: Boxes) -> float:
    """Mean over the expected words of the best IoU that a found word has with it."""
    one, other = (np.array([shapely.Polygon(b) for b in boxes]) for boxes in (found, expected))
    both = shapely.area(shapely.intersection(one[:, None], other[None]))
    either = shapely.area(one)[:, None] + shapely.area(other)[None] - both
    return float((both / either).max(axis=0).mean())


def main(options: dict[str, Any]) -> None:
    words, side = options["words"], options["side"]
    probability = word_map(word_outlines(words, side), side)
    print(f"{side} x {side} map, {words} words, one thread")
    print(f"{'shape':8} {'reference':>10} {'ours':>10} {'ratio':>7} {'words':>9} {'mean IoU':>9}")
    cv2.setNumThreads(1)
    for shape in ("quad", "polygon"):
        expected, found = reference(probability, shape), ours(probability, shape)
        calls = [partial(reference, probability, shape), partial(ours, probability, shape)]
        slow, fast = (1000 * t for t in best_times(calls, options["rounds"], process_time))
        counts = f"{len(expected)} / {len(found)}"
        print(
            f"{shape:8} {slow:7.2f} ms {fast:7.2f} ms {slow / fast:6.1f}x {counts:>9} "
            f"{agreement(found, expected):9.3f}"
        )
    for epsilon in (SETTINGS["epsilon"], 0.0):
        print(compare_growth(probability, epsilon, options["rounds"]))


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
