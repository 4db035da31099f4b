"""CLEval of a set of pages against the published tool (package `cleval`).

`python benchmarks/bench_cleval.py [data=FOLDER] [rounds=5] [pages=10000]` scores the tool's own
test set, `gt_eval_doc_v1_kr.zip` and `res_eval_doc_v1_kr.zip` in FOLDER, or without a folder a
set of as many drawn pages, with both in turns in one process, and prints the scores, the best
time of each and the ratio. Both start from polygons that have been read; the tool is compiled
beforehand and gets no detected texts, so that it has next to no end-to-end scores to work out.
Where the tool is not installed (`pip install '.[benchmarks]'`), ours are timed alone. Then the
set is added over and over to one collector, up to `pages` pages, to see what a page costs in
memory.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_postprocess import word_outlines
from timing import best_times, run

from detector.config.cli import log
from detector.metrics.cleval import CLEval, Dialect
from detector.metrics.files import Pages, PageShapes, read_pair
from detector.metrics.iou import IoU

FILES = ("gt_eval_doc_v1_kr.zip", "res_eval_doc_v1_kr.zip")
WARM_UP_PAGES = 3
THEIRS = "package cleval"
DEFAULTS = {"data": None, "rounds": 5, "pages": 10000}
DRAWN_PAGES, WORDS, SIDE = 100, 190, 1600


def drawn_pages(count: int) -> tuple[Pages, Pages]:
    """Pages of words in rows, and detections of them: most as they are, some cut in two or shifted,
    some not found, and a few where nothing is."""
    truth: Pages = {}
    found: Pages = {}
    for seed in range(count):
        rng = np.random.default_rng([seed, 7])
        words, boxes = PageShapes(), PageShapes()
        for outline in word_outlines(WORDS, SIDE, seed):
            words.append(outline, "x" * int(rng.integers(1, 9)), bool(rng.random() < 0.03))
            boxes.polygons += detections(outline, rng)
        truth[f"{seed:04d}"], found[f"{seed:04d}"] = words, boxes
    return truth, found


def detections(outline: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """None, one or two boxes for a word with the corners `(4, 2)`."""
    fate = rng.random()
    if fate < 0.05:
        return []
    moved = outline + rng.normal(0, 1, (4, 2))
    if fate < 0.10:
        return [moved + SIDE]
    if fate < 0.20:
        top, bottom = moved[:2].mean(axis=0), moved[2:].mean(axis=0)
        return [
            np.array([moved[0], top, bottom, moved[3]]),
            np.array([top, moved[1], moved[2], bottom]),
        ]
    return [moved]


def score_ours(truth: Pages, found: Pages, dialect: Dialect) -> float:
    metric = CLEval(dialect)
    for name, page in truth.items():
        metric.add(name, page.polygons, page.texts, page.ignore, found[name].polygons)
    return metric.result().hmean


def score_boxes(truth: Pages, found: Pages) -> float:
    metric = IoU()
    for name, page in truth.items():
        metric.add(name, page.polygons, page.ignore, found[name].polygons)
    return metric.result().hmean


def prepare_theirs(truth: Pages, found: Pages) -> list[dict[str, Any]]:
    """Arguments of the package for each page."""
    return [
        {
            "det_quads": np.array([p.ravel() for p in found[name].polygons], dtype=np.float32),
            "gt_quads": np.array([p.ravel() for p in page.polygons], dtype=np.float32),
            "det_letters": [""] * len(found[name].polygons),
            "gt_letters": page.texts,
            "gt_is_dcs": page.ignore,
        }
        for name, page in truth.items()
    ]


def score_theirs(pages: Sequence[dict[str, Any]]) -> float:
    from cleval import CLEvalMetric

    metric = CLEvalMetric()
    for page in pages:
        metric.update(**page)
    return float(metric.compute()["det_h"])


def memory_growth(truth: Pages, found: Pages, pages: int) -> list[tuple[int, float]]:
    """Pages added to one collector, and the MiB that the process grew by since the first set."""
    metric, names = CLEval("official"), list(truth)
    growth: list[tuple[int, float]] = []
    base = 0.0
    for i in range(pages):
        page, detections = truth[names[i % len(names)]], found[names[i % len(names)]]
        metric.add(f"{i}", page.polygons, page.texts, page.ignore, detections.polygons)
        if i + 1 == len(names):
            base = resident_mib()
        if i >= len(names) and (i + 1) % max(1, pages // 5) == 0:
            growth.append((i + 1, resident_mib() - base))
    return growth


def resident_mib() -> float:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main(options: dict[str, Any]) -> None:
    if options["data"] is None:
        log(f"no data=FOLDER with {' and '.join(FILES)}: scoring {DRAWN_PAGES} drawn pages")
        truth, found = drawn_pages(DRAWN_PAGES)
    else:
        pair = read_pair(*(Path(options["data"]) / name for name in FILES))
        truth, found = pair.truth, pair.found
    jobs: dict[str, Callable[[], float]] = {
        "official": lambda: score_ours(truth, found, "official"),
        "competition": lambda: score_ours(truth, found, "competition"),
        "IoU 0.5": lambda: score_boxes(truth, found),
    }
    theirs = prepare_theirs(truth, found)
    try:
        score_theirs(theirs[:WARM_UP_PAGES])
        jobs = {THEIRS: lambda: score_theirs(theirs)} | jobs
    except ImportError:
        log("no package cleval (pip install '.[benchmarks]'): ours are timed alone")
    scores = [job() for job in jobs.values()]
    times = best_times(list(jobs.values()), options["rounds"])
    report(truth, found, dict(zip(jobs, zip(scores, times, strict=True), strict=True)))
    print("\npages added    MiB more than after the first set")
    for pages, grown in memory_growth(truth, found, options["pages"]):
        print(f"{pages:11,}  {grown:7.1f}")


def report(truth: Pages, found: Pages, times: dict[str, tuple[float, float]]) -> None:
    words, boxes = (sum(len(p.polygons) for p in pages.values()) for pages in (truth, found))
    print(f"{len(truth)} pages, {words:,} words, {boxes:,} detections\n")
    print("scorer           H-mean       seconds  ms/page   package / ours")
    reference = times.get(THEIRS)
    for name, (score, seconds) in times.items():
        ratio = f"{reference[1] / seconds:8.1f}" if reference else ""
        print(
            f"{name:<15}  {score:.9f}  {seconds:7.3f}  {1e3 * seconds / len(truth):7.2f}  {ratio}"
        )
    if reference is None:
        return
    gap = abs(reference[0] - times["official"][0])
    verdict = "agree" if gap < 1e-6 else "DISAGREE"
    print(f"\npackage and official {verdict}: they differ by {gap:.1e}")


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
