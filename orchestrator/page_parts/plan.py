"""Which trainings the curve over the number of pages is made of, and which are still to be made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detector.config.settings import TrainConfig, with_values
from orchestrator.page_parts.leader import leader_of, seconds_of
from orchestrator.page_parts.parts import same_steps, sizes
from orchestrator.propose.again import Training
from orchestrator.propose.confirmation import SEEDS, SEEDS_FOLDER
from orchestrator.propose.kept import best_of
from orchestrator.run.run import Run
from orchestrator.run.trial_data import training_pages, training_split
from orchestrator.trials.records import TrialRecord

PAGES_FOLDER = "pages"  # in a trial's folder, with a folder for each number of pages


@dataclass(frozen=True)
class Size:
    """A number of training pages, and the training on them, in `folder`; None if it was made."""

    pages: int
    epochs: int
    folder: Path
    training: Training | None


@dataclass(frozen=True)
class Plan:
    """The sizes, smallest first, for the settings of `leader`, whose training took `seconds`."""

    leader: TrialRecord
    config: TrainConfig
    seconds: float
    sizes: tuple[Size, ...]

    @property
    def trainings(self) -> list[Training]:
        """Those that this is about, made or not, but for those of the search."""
        return [size.training for size in self.sizes if size.training is not None]


def plan(run: Run, halvings: int) -> Plan:
    """The sizes for the best configuration of a run.

    The largest is the whole. Its score must not be that by which the trial was chosen among others,
    which is high by luck: the curve would be too steep. So the whole is a training with another
    seed, that of a confirmation where there is one. Only where nothing was chosen it is the trial.
    Raises InputError without a finished trial, and for too few pages.
    """
    leader = leader_of(run)
    number, config = int(leader.trial), run.space.train_config(leader.params)
    home, seed = run.trial_folder(number), config.train.seed
    chosen = sum(record.hmean is not None for record in run.records()) > 1
    made = None if chosen else home
    if chosen:
        seed, made = _new_seed(run, leader, seed)
    split = len(training_split(config.data).pages)
    given = min(split, config.data.train_pages or split)
    found = []
    for count in sizes(given, split, halvings):
        own = {} if count == given else same_steps(config, count, given)
        changed = with_values(config, own)
        pages, epochs = len(training_pages(changed.data)), changed.train.epochs
        folder = home / PAGES_FOLDER / f"{count}-of-{split}"
        if count == given and made is not None:
            found.append(Size(pages, epochs, made, None))
        else:
            training = Training(leader, seed, folder, f"{pages} pages", own)
            found.append(Size(pages, epochs, folder, training))
    return Plan(leader, config, seconds_of(run, leader), tuple(found))


def _new_seed(run: Run, leader: TrialRecord, own: int) -> tuple[int, Path | None]:
    """A seed that the leader was not chosen by, and where it was trained with it, if it was."""
    for seed, result in run.study.confirmations().get(leader.trial, {}).items():
        folder = run.trial_folder(int(leader.trial)) / SEEDS_FOLDER / str(seed)
        if result["reason"] is None and best_of(folder).is_dir():
            return seed, folder
    return (own + 1) % SEEDS, None
