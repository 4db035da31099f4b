"""The finished trials of a run as detectors, with their maps of the validation pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.core.files import file_digest
from detector.data.labels.pages import Page
from detector.inference.checkpoint import find_best
from detector.inference.detector import Detector, load_detector
from detector.inference.evaluation import kept_maps
from detector.inference.latency import latency_ms
from detector.postprocess.maps import PageMap, PageMaps, quantize
from orchestrator.results.ranking import ranked
from orchestrator.trials.records import TrialRecord, TrialState


@dataclass(frozen=True, eq=False)
class Candidate:
    """A trained trial: its number in the run, its `best/`, and what that holds."""

    trial: str
    best: Path
    detector: Detector
    config: TrainConfig


def candidates(
    folder: Path,
    records: Sequence[TrialRecord],
    most: int,
    log: Callable[[str], None],
) -> list[Candidate]:
    """The best finished trials of a run, at most that many, best first.

    Maps can be averaged after one preprocessing only, and words grown back from one shrink: those
    of the first. Trials with others, or without weights, are left out and said to be. Raises
    InputError when none is left.
    """
    found: list[Candidate] = []
    left: Counter[str] = Counter()
    finished = [r for r in ranked(records) if r.state is TrialState.FINISHED]
    for record in finished:
        if len(found) == most:
            break
        best = folder / (record.checkpoint or "")
        if record.checkpoint is None or not best.is_dir():
            left["their weights are not in the run folder"] += 1
            continue
        detector, config = load_detector(best)
        if found and detector.preprocess != found[0].detector.preprocess:
            left[f"their pages are prepared otherwise than those of trial {found[0].trial}"] += 1
            continue
        if found and config.targets.shrink_ratio != found[0].config.targets.shrink_ratio:
            left[f"their words were shrunk otherwise than those of trial {found[0].trial}"] += 1
            continue
        found.append(Candidate(record.trial, best, detector, config))
    for why, count in left.items():
        log(f"left out: {count} finished trials, since {why}")
    if not found:
        raise InputError(
            f"run: {folder} has no finished trial with weights to average, of {len(records)} trials"
        )
    return found


class Maps:
    """The maps of candidates at page sizes, made when they are first asked for.

    folder: keeps them for the next time.
    """

    def __init__(
        self, found: Sequence[Candidate], pages: Sequence[Page], folder: Path, stack: ExitStack
    ) -> None:
        self._candidates = {candidate.trial: candidate for candidate in found}
        self._pages = pages
        self._folder = folder
        self._stack = stack
        self._maps: dict[tuple[str, float], PageMaps] = {}
        self._ms: dict[tuple[str, float], float] = {}

    def mean(self, views: Sequence[tuple[str, float]]) -> Iterator[PageMap]:
        """The mean of the maps of some (trial, scale), page by page."""
        for same in zip(*(self._of(view) for view in views), strict=True):
            mean = np.stack([page.probability for page in same]).mean(axis=0, dtype=np.float32)
            yield replace(same[0], probability=quantize(np.asarray(mean)))

    def milliseconds(self, view: tuple[str, float]) -> float:
        """What a page takes at one (trial, scale), measured once."""
        if view not in self._ms:
            self._ms[view] = latency_ms(self._scaled(view), self._pages)
        return self._ms[view]

    def _of(self, view: tuple[str, float]) -> PageMaps:
        if view not in self._maps:
            trial, scale = view
            weights = file_digest(find_best(self._candidates[trial].best))
            self._maps[view] = self._stack.enter_context(
                kept_maps(
                    self._scaled(view),
                    self._pages,
                    self._folder / f"{trial}-{scale:g}",
                    made_by=weights,
                )
            )
        return self._maps[view]

    def _scaled(self, view: tuple[str, float]) -> Detector:
        trial, scale = view
        return replace(self._candidates[trial].detector, scales=(scale,))
