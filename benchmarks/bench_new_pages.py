"""How well a search tells what its winner scores on pages that it has not seen.

`python benchmarks/bench_new_pages.py [table=benchmarks/pages.npz] [searches=200] [val_pages=30]
[trials=20]` replays searches on the recorded trainings of `record_pages.py`: eight good detectors,
or with `pages_small.npz` six small ones. Each deals `val_pages` of the recorded pages, drawn at
random, to its validation; the others come later. It chooses a trial by its validation pages, says
what to expect (`orchestrator.results.new_pages`), and what is shipped is scored on the others. Two
kinds of search:

nested: a trial is a training. Post-processing is chosen among all settings by all validation
    pages, and compared by cross-fitted scores, as by default.
joint: a trial is a training with a setting, `trials` of them drawn at random (postprocess=joint).

Beside what is said stands the naive way: the winner's own score and its bootstrap interval. An
error is that of the H-mean said, less the mean of all pages that come later. An interval is to hold
the mean of `val_pages` of them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from replay import LEVELS
from timing import run

from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError
from detector.metrics.cleval import PageCounts
from detector.postprocess.sweep_scores import SweepScores
from orchestrator.results.new_pages import new_pages
from orchestrator.results.ranking import best, interval
from orchestrator.trials.records import TrialRecord, TrialState

DEFAULTS = {
    "table": str(Path(__file__).with_name("pages.npz")),
    "searches": 200,
    "val_pages": 30,
    "trials": 20,
}
COUNTS = ("hmeans", "matched", "detections")


@dataclass(frozen=True, eq=False)
class PageTable:
    """C trainings at S settings on P pages: `(C, S, P)` H-means, and `(C, S, P, 4)` IoU counts."""

    configs: tuple[dict[str, Any], ...]
    settings: tuple[PostprocessConfig, ...]
    hmeans: NDArray[np.float64]
    overlap: NDArray[np.int32]

    def swept(self, training: int, pages: NDArray[np.intp]) -> SweepScores:
        """The sweep of a training on some pages, in rising order; recall and precision are 0."""
        scores = np.zeros((len(self.settings), len(pages), 3))
        scores[:, :, 2] = self.hmeans[training][:, pages]
        names = tuple(f"{page:04d}" for page in pages.tolist())
        official = np.zeros((len(self.settings), len(fields(PageCounts))), np.int64)  # not recorded
        overlap = self.overlap[training][:, pages]
        return SweepScores(self.settings, names, scores, official, overlap)


def read_pages(path: Path) -> PageTable:
    """The table that `record_pages.py` wrote; InputError when it is not one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            counts = {key: np.cumsum(file[key], axis=1, dtype=np.uint16) for key in COUNTS}
            configs, settings = (json.loads(str(file[key])) for key in ("configs", "settings"))
            words = np.broadcast_to(file["words"], counts["hmeans"].shape)
    except FileNotFoundError:
        raise InputError(f"table: {path} does not exist; record_pages.py makes one") from None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"table: {path} is no table of record_pages.py ({error}); record one"
        ) from None
    ignored = np.zeros_like(words)
    overlap = np.stack([counts["matched"], words, counts["detections"], ignored], axis=-1)
    return PageTable(
        tuple(configs),
        tuple(PostprocessConfig.model_validate(setting) for setting in settings),
        counts["hmeans"] / LEVELS,
        overlap.astype(np.int32),
    )


Trial = tuple[TrialRecord, int, int]  # with its training, and the setting that it would ship


def nested(table: PageTable, known: NDArray[np.intp]) -> Iterator[Trial]:
    """Each training, with the page scores that its search would compare."""
    for training in range(len(table.configs)):
        swept = table.swept(training, known)
        fitted = swept.cross_fit()
        assert fitted is not None
        pages = tuple(fitted.page_hmeans.values())
        yield _record(training, pages), training, swept.best()


def joint(
    table: PageTable, known: NDArray[np.intp], trials: int, rng: np.random.Generator
) -> Iterator[Trial]:
    """Trainings with a setting, drawn without coming twice."""
    trainings, settings, _ = table.hmeans.shape
    drawn = rng.choice(trainings * settings, min(trials, trainings * settings), replace=False)
    for number, pair in enumerate(drawn.tolist()):
        training, setting = divmod(pair, settings)
        pages = tuple(table.hmeans[training, setting, known].tolist())
        yield _record(number, pages), training, setting


def _record(number: int, pages: tuple[float, ...]) -> TrialRecord:
    hmean = float(np.mean(pages))
    return TrialRecord(f"{number:05d}", TrialState.FINISHED, hmean=hmean, page_hmeans=pages)


class Said(NamedTuple):
    """What was said before, in one search, and whether it came so."""

    error: float
    width: float
    held: bool


def said(hmean: float, low: float, high: float, later: NDArray[np.float64], size: int) -> Said:
    """`later` are the `(P,)` scores that came, of which the first `size` are the new set."""
    new = float(later[:size].mean())
    return Said(hmean - float(later.mean()), high - low, low <= new <= high)


def replay(table: PageTable, kind: str, options: dict[str, Any], seed: int) -> tuple[Said, Said]:
    """The naive way and ours, in one search."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(table.hmeans.shape[2])
    size = options["val_pages"]
    known, later = np.sort(order[:size]), order[size:]
    if kind == "nested":
        trials = list(nested(table, known))
    else:
        trials = list(joint(table, known, options["trials"], rng))
    records = [record for record, _, _ in trials]
    top, found = best(records), new_pages(records)
    assert top is not None
    assert found is not None
    own = interval(top.page_bytes)
    assert own is not None
    _, training, setting = trials[records.index(top)]
    came = table.hmeans[training, setting, later]
    return (
        said(found.seen, *own, came, size),
        said(found.hmean, found.low, found.high, came, size),
    )


def row(name: str, every: list[Said]) -> str:
    """A line of the table: median error, median of its size, share of intervals that held."""
    errors = np.array([one.error for one in every])
    held, width = (np.mean([getattr(one, key) for one in every]) for key in ("held", "width"))
    return (
        f"| {name} | {np.median(errors):+.4f} | {errors.mean():+.4f} | "
        f"{np.median(np.abs(errors)):.4f} | {held:.1%} | {width:.4f} |"
    )


def main(options: dict[str, Any]) -> None:
    table = read_pages(Path(options["table"]))
    trainings, settings, pages = table.hmeans.shape
    if not 2 <= options["val_pages"] <= pages // 2:
        raise InputError(
            f"val_pages: must lie between 2 and {pages // 2}, half of the recorded pages, got "
            f"{options['val_pages']}"
        )
    print(
        f"{trainings} trainings, {settings} settings, {pages} pages; {options['searches']} searches"
    )
    print(
        "\n| search | error, median | mean | its size, median | intervals that held | their width |"
        "\n|---|---|---|---|---|---|"
    )
    for kind in ("nested", "joint"):
        both = [replay(table, kind, options, seed) for seed in range(options["searches"])]
        print(row(f"{kind}, naive", [naive for naive, _ in both]), flush=True)
        print(row(f"{kind}, expected on new pages", [ours for _, ours in both]), flush=True)


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
