"""A post-processing sweep against one evaluation of the same pages.

`python benchmarks/bench_sweep.py [pages=40] [words=54] [side=640] [rounds=3]` draws maps as a
trained network gives them. `python benchmarks/bench_sweep.py checkpoint=… data.root=… [pages=…]`
takes a real detector and real pages instead. One evaluation is post-processing and all three
metrics at one setting, from maps that are there already; with a checkpoint the table also has
`detector.evaluate`, which runs the network too: what a setting costs without kept maps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_postprocess import word_map, word_outlines
from timing import best_times, run

from detector.config.postprocess import Grid, SweepConfig
from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError
from detector.data.labels.annotations import read_split
from detector.data.labels.pages import Page, Word
from detector.inference.detector import load_detector
from detector.inference.evaluation import collect_keeping_maps, evaluate
from detector.metrics.cleval import CLEval
from detector.metrics.iou import IoU
from detector.metrics.scores import Scores, assemble
from detector.postprocess.maps import PageMap, PageMaps, quantize
from detector.postprocess.polygons import detect
from detector.postprocess.rounds import sweep_in_rounds
from detector.postprocess.sweep import around, grid, sweep

DEFAULTS = {
    "pages": 40,
    "words": 54,
    "side": 640,
    "rounds": 3,
    "checkpoint": None,
    "data.root": None,
}
BASE = PostprocessConfig()
THRESHOLDS = {"box_thresh": tuple(np.linspace(0.3, 0.9, 100).tolist())}
GROWTHS = {"thresh": (0.2, 0.3, 0.4, 0.5), "unclip_ratio": (1.2, 1.4, 1.6, 1.8, 2.0)}
BOXES = {"box_thresh": tuple(i / 1000 for i in range(300, 925, 25))}
QUADS = GROWTHS | BOXES | {"min_side_px": (3.0, 6.0)}
BOTH = GROWTHS | BOXES | {"shape": ("quad", "polygon")}
# What a training tried before polygons and exact growth were among it.
FORMER = {"thresh": (0.2, 0.3, 0.4), "unclip_ratio": (1.2, 1.4, 1.6, 1.8, 2.0)}
FORMER |= {"box_thresh": tuple(i / 100 for i in range(30, 81, 5))}
TRAINING, TUNING = SweepConfig().tried(), Grid().tried()


def drawn(pages: int, words: int, side: int) -> tuple[list[PageMap], list[Page]]:
    """Maps of `(side, side)` and their pages, every word with a text of seven characters."""
    maps, annotated = [], []
    for seed in range(pages):
        outlines = word_outlines(words, side, seed)
        name = f"{seed:04d}.jpg"
        probability = quantize(word_map(outlines, side, seed))
        maps.append(PageMap(name, probability, np.eye(2, 3), (side, side)))
        found = tuple(
            Word(str(i), o.astype(np.float32), "letters", False) for i, o in enumerate(outlines)
        )
        annotated.append(Page(name, Path(name), side, side, found))
    return maps, annotated


def one_evaluation(
    maps: Sequence[PageMap] | PageMaps, pages: Sequence[Page], setting: PostprocessConfig
) -> Scores:
    """Every page detected and scored at one setting, as `detector.evaluate` does."""
    competition, official, iou = CLEval("competition", blank="skip"), CLEval("official"), IoU()
    words = {page.name: page.words for page in pages}
    for page in maps:
        settings = setting.model_dump()
        found = detect(page.probability, **settings, affine=page.affine, size=page.size).polygons
        truth = [word.points for word in words[page.name]]
        texts = [word.text for word in words[page.name]]
        ignore = [word.ignore for word in words[page.name]]
        competition.add(page.name, truth, texts, ignore, found)
        official.add(page.name, truth, texts, ignore, found)
        iou.add(page.name, truth, ignore, found)
    results = competition.result(), official.result(), iou.result()
    return assemble(*results, pages=len(maps), skipped=())


def in_rounds(
    maps: Sequence[PageMap] | PageMaps, pages: Sequence[Page], base: PostprocessConfig
) -> tuple[PostprocessConfig, ...]:
    """The settings that `detector.tune_postprocess` scores."""
    found = sweep_in_rounds(maps, pages, base, TUNING, own=Grid().own(), log=lambda _: None)
    return found.swept.settings


def report(
    maps: Sequence[PageMap] | PageMaps,
    pages: Sequence[Page],
    base: PostprocessConfig,
    rounds: int,
    whole: Callable[[], object] | None,
) -> None:
    """Time everything in turns and print it; check a few settings against full evaluations."""
    base = base.model_copy(update={"shape": "quad"})
    polygon = base.model_copy(update={"shape": "polygon"})
    grids = [grid(base, FORMER), around(base, TRAINING), around(base, TUNING), grid(base, TUNING)]
    grids += [grid(base, values)[1:] for values in (THRESHOLDS, QUADS, BOTH)]
    names = ["one evaluation, quads", "one evaluation, polygons"]
    names += ["training, only quads", "training", "tune, first round", "tune, every product"]
    names += ["sweep of box_thresh", "sweep, quads", "sweep, quads and polygons"]
    counts = [1, 1, *map(len, grids)]
    calls: list[Callable[[], object]] = [
        lambda: one_evaluation(maps, pages, base),
        lambda: one_evaluation(maps, pages, polygon),
        *(lambda g=tried: sweep(maps, pages, g) for tried in grids),
    ]
    names, counts = [*names, "tune, all rounds"], [*counts, len(in_rounds(maps, pages, base))]
    calls.append(lambda: in_rounds(maps, pages, base))
    if whole is not None:
        names, counts, calls = [*names, "detector.evaluate"], [*counts, 1], [*calls, whole]
    seconds = best_times(calls, rounds)
    print(f"{len(maps)} pages, best of {rounds} rounds, one process")
    print(f"{'':26} settings  seconds  by evaluation of quads" + "  with network" * bool(whole))
    for name, count, taken in zip(names, counts, seconds, strict=True):
        line = f"{name:26} {count:8} {taken:8.2f} {taken / seconds[0]:23.2f}"
        print(line + (f" {taken / seconds[-1]:13.2f}" if whole else ""))
    swept = sweep(maps, pages, grids[-1])
    for index in np.random.default_rng(0).choice(len(grids[-1]), 5, replace=False).tolist():
        if swept.scores(index) != one_evaluation(maps, pages, grids[-1][index]):
            raise SystemExit(f"{grids[-1][index]} scores differently in the sweep")
    print("five settings drawn from the last grid: every figure equal to a full evaluation's")


def main(options: dict[str, Any]) -> None:
    count, rounds = options["pages"], options["rounds"]
    if options["checkpoint"] is None:
        maps, pages = drawn(count, options["words"], options["side"])
        report(maps, pages, BASE, rounds, None)
        return
    if options["data.root"] is None:
        raise InputError("data.root: checkpoint= needs the pages too; add data.root=FOLDER")
    detector, _ = load_detector(Path(options["checkpoint"]))
    found = read_split(Path(options["data.root"]), "val", limit=count).pages
    with tempfile.TemporaryDirectory() as folder:
        collect_keeping_maps(detector, found, Path(folder))
        kept = PageMaps(Path(folder))
        report(kept, found, detector.postprocess, rounds, lambda: evaluate(detector, found))


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
