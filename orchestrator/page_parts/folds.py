"""Every page validated on in turn: what a run's best settings score on pages no choice has seen.

The pages that trials were compared by have chosen the best, and its score on them is high by luck
too. So the training pages are dealt in parts (`detector.data.labels.splits.part_of`), and its
settings trained again for each part on all others (cross-validation: Stone, "Cross-validatory
choice and assessment of statistical predictions", 1974).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detector.core.errors import InputError, JobError
from detector.data.labels.pages import Page
from detector.data.labels.splits import part_of
from orchestrator.page_parts.leader import leader_of, seconds_of
from orchestrator.page_parts.scores import Scored
from orchestrator.propose.again import Training
from orchestrator.propose.kept import broken, read_kept
from orchestrator.results.new_pages import between
from orchestrator.run.run import Run
from orchestrator.run.trial_data import training_split, validation_pages
from orchestrator.trials.duration import duration
from orchestrator.trials.records import TrialRecord

FILE = "folds.json"  # in the folder of a run
FOLDS_FOLDER = "folds"  # in a trial's folder, with a folder for each part
LEAST_PAGES = 2  # of a part, whose halves choose post-processing for each other


@dataclass(frozen=True)
class Fold:
    """A training that leaves out a part of the pages, of which `pages` have chosen nothing."""

    name: str
    training: Training
    pages: tuple[Page, ...]


@dataclass(frozen=True)
class FoldPlan:
    """The trainings for the settings of `leader`.

    seconds: what its own took. compared: the pages that this one validated on. largest: the most
    that one of the others does.
    """

    leader: TrialRecord
    seconds: float
    folds: tuple[Fold, ...]
    compared: int
    largest: int

    def cost(self, left: int) -> str:
        """What is to be done while there are so many trainings left, as a line."""
        leader, each = self.leader.trial, duration(self.seconds)
        slower = (
            f"; and more, as they validate on up to {self.largest} pages and it did on "
            f"{self.compared}"
            if self.largest > self.compared
            else ""
        )
        return (
            f"cost: {left} of {len(self.folds)} trainings are to do with the settings of "
            f"trial {leader}, whose own took {each}: about {duration(self.seconds * left)} in all "
            f"(trials/{leader}*/{FOLDS_FOLDER}/*/log.txt){slower}"
        )


def fold_plan(run: Run, parts: int) -> FoldPlan:
    """The parts for the best trial of a run that was trained to the end.

    Pages that the search has compared trials by are scored in none, and a part of such pages alone
    is left out. Raises InputError without a finished trial, and for too few pages.
    """
    leader = leader_of(run)
    number, config = int(leader.trial), run.space.train_config(leader.params)
    compared = {page.path for page in validation_pages(config.data)}
    split, found, largest = training_split(config.data), [], 0
    home = run.trial_folder(number) / FOLDS_FOLDER
    for part in range(1, parts + 1):
        name = f"{config.data.train_split}@{part}/{parts}"
        own = {"data.val_split": name, "data.val_pages": None}
        every = part_of(split, name, part, parts).pages
        pages = tuple(page for page in every if page.path not in compared)
        if not pages:
            continue
        if len(pages) < LEAST_PAGES:
            raise InputError(
                f"folds: part {part} of {parts} has one page that the search did not compare "
                f"trials by, and {LEAST_PAGES} are needed; ask for fewer parts"
            )
        folder = home / f"{part}-of-{parts}"
        training = Training(leader, config.train.seed, folder, f"part {part} of {parts}", own)
        found.append(Fold(training.name, training, pages))
        largest = max(largest, len(every))
    if not found:
        raise InputError(
            "folds: the search compared trials by all training pages, so none is left to score on; "
            "choose a data.val_split apart from data.train_split"
        )
    return FoldPlan(leader, seconds_of(run, leader), tuple(found), len(compared), largest)


@dataclass(frozen=True)
class PartScore:
    """What the training without a part scores on it; `hmean` is cross-fitted."""

    name: str
    pages: int
    hmean: float
    iou_hmean: float


@dataclass(frozen=True)
class FoldScores:
    """What a trial's settings score on pages that no choice has seen, each trained without it.

    hmean: the mean over all `pages`. low, high: 95 of 100 such sets of pages have the mean of all
    pages of their kind between them.
    """

    trial: str
    pages: int
    hmean: float
    low: float
    high: float
    parts: Sequence[PartScore]

    @classmethod
    def of(cls, plan: FoldPlan, scores: Sequence[Scored]) -> FoldScores:
        """From the scores of each part in order; JobError where fewer than two pages have one."""
        hmeans = np.array([h for score in scores for h in score.page_hmeans.values()])
        if len(hmeans) < LEAST_PAGES:
            raise JobError("fewer than two pages have a score after these trainings; add pages")
        mean, spread = float(hmeans.mean()), float(hmeans.std(ddof=1))
        parts = [
            PartScore(fold.name, len(score.page_hmeans), score.hmean, score.iou_hmean)
            for fold, score in zip(plan.folds, scores, strict=True)
        ]
        low, high = between(hmeans, mean, spread, of_a_set=False)
        return cls(plan.leader.trial, len(hmeans), mean, low, high, parts)

    @property
    def sentence(self) -> str:
        """What it says of new pages."""
        return (
            f"On {self.pages} pages that no choice has seen, each by a training without it, the "
            f"settings of trial {self.trial} have H-mean {self.hmean:.4f}; the mean of all pages "
            f"of this kind lies between {self.low:.4f} and {self.high:.4f}."
        )

    def as_json(self) -> dict[str, Any]:
        """Its figures and its sentence."""
        return asdict(self) | {"sentence": self.sentence}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FoldScores:
        """The inverse of `as_json`. Raises KeyError or TypeError for anything else."""
        own = {key: value for key, value in values.items() if key != "sentence"}
        return cls(**own | {"parts": [PartScore(**part) for part in values["parts"]]})


def read_folds(run: Path) -> FoldScores | None:
    """What is kept in a run's folder; None before there is any."""
    kept = read_kept(run / FILE)
    if kept.get("scores") is None:
        return None
    try:
        return FoldScores.from_dict(kept["scores"])
    except (KeyError, TypeError) as error:
        raise broken(run / FILE, f"its scores lack or have too much ({error})") from None
