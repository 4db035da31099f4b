"""The best trials trained again with new seeds, to tell good settings from lucky trainings.

The best of many scores is high by luck too, and the more trials there are, the more so (the
winner's curse). Another seed gives another order of pages, other crops and other first weights, and
its score was not chosen. What is done and what is left to do follows from the study alone: leaders
are the best finished trials, which change no more, and each training that is over has its result
there. One that was cut off goes on from the checkpoint in its folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna

from detector.cli import log
from orchestrator.config.limits import Watch
from orchestrator.config.settings import ConfirmConfig, SearchConfig
from orchestrator.execute.bucket_run import bucket_run
from orchestrator.execute.progress import Checking
from orchestrator.execute.trial import SEEDS_FOLDER, TrialFunction
from orchestrator.execute.tuner import ToTheEnd, run_jobs
from orchestrator.place.resources import TrialResources
from orchestrator.propose.seed_searcher import SeedSearcher, Training
from orchestrator.results.ranking import confirmed_hmean, confirmed_sd, ranked
from orchestrator.results.write import write_results
from orchestrator.run import study as store
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.records import TrialRecord, TrialState

SEEDS = 2**31  # as many as there are, see train.seed


def leaders(records: Sequence[TrialRecord], top: int) -> list[TrialRecord]:
    """The `top` best finished trials by their first scores, whatever new seeds have said."""
    finished = [r for r in records if r.state is TrialState.FINISHED and r.hmean is not None]
    return ranked([replace(record, confirmed=()) for record in finished])[:top]


def trainings(
    study: optuna.Study, space: SearchSpace, folder: Path, wanted: ConfirmConfig
) -> list[Training]:
    """All trainings that `wanted` asks for, the leaders in turn for each new seed.

    New seeds are those after a trial's own. `folder` is the run's.
    """
    best = leaders(store.read_records(study), wanted.top)
    out = []
    for more in range(1, wanted.seeds + 1):
        for leader in best:
            seed = (space.train_config(leader.params).train.seed + more) % SEEDS
            name = store.folder_of(study, leader.trial)
            place = folder / "trials" / name / SEEDS_FOLDER / str(seed)
            out.append(Training(leader, seed, place))
    return out


def is_confirmed(
    study: optuna.Study, space: SearchSpace, folder: Path, wanted: ConfirmConfig
) -> bool:
    """Whether every training that `wanted` asks for is over."""
    results = store.confirmations(study)
    return all(
        training.seed in results.get(training.leader.trial, {})
        for training in trainings(study, space, folder, wanted)
    )


def spent(study: optuna.Study) -> list[TrialRecord]:
    """What trainings with new seeds took, as records for limits; they stand for no trial."""
    return [
        TrialRecord("", TrialState.FINISHED, epochs=result["epochs"], seconds=result["seconds"])
        for results in store.confirmations(study).values()
        for result in results.values()
    ]


def extra_cost(wanted: ConfirmConfig, space: SearchSpace) -> str:
    """What a confirmation adds to the cost of a search, for the end of that line."""
    if wanted.top == 0:
        return ""
    return (
        f"; confirm.top={wanted.top} confirm.seeds={wanted.seeds} adds up to "
        f"{wanted.top * wanted.seeds} whole trainings of {space.budget.epochs} epochs"
    )


def confirm(
    study: optuna.Study,
    space: SearchSpace,
    folder: Path,
    config: SearchConfig,
    *,
    trial: TrialFunction,
    resources: TrialResources,
    check: Callable[[], None],
    watch: Watch,
) -> None:
    """Train the leaders with new seeds, as far as that is not done, and print what it gave.

    Ray must be running; `folder` is the run's. A training that fails is recorded with its reason
    and not tried again. `check` is called several times a second and may raise to end this. Raises
    LimitReachedError when a limit of `watch` is reached, patience apart.
    """
    if config.confirm.top == 0:
        return
    every = trainings(study, space, folder.resolve(), config.confirm)
    limits = watch.of_spending()

    def ended() -> None:
        limits.reported()
        records, parameters = store.read_records(study), list(space.parameters)
        write_results(folder, records, parameters, config.search.trade_off())

    say = partial(print, flush=True)
    searcher = SeedSearcher(study, every, say=say, ended=ended)
    if searcher.left:
        limits.reported()
        limits.check()
        log(_announced(every, searcher.left, epochs=space.budget.epochs))
        callbacks = [Checking((check, limits.check))]
        run_jobs(
            searcher,
            ToTheEnd(searcher),
            folder.resolve(),
            trial,
            resources,
            callbacks,
            config.budget.hang_minutes,
            bucket_run(config, folder),
        )
    for line in summary(store.read_records(study), every):
        say(line)


def _announced(every: Sequence[Training], left: int, *, epochs: int) -> str:
    count = len({training.leader.trial for training in every})
    best = "the best trial" if count == 1 else f"the best {count} trials"
    return (
        f"new seeds for {best}: {left} of {len(every)} trainings of {epochs} "
        f"epochs are to do (trials/*/{SEEDS_FOLDER}/*/log.txt)"
    )


def summary(records: Sequence[TrialRecord], every: Sequence[Training]) -> list[str]:
    """A line for each leader, best first: the mean and spread of its new seeds, and the first."""
    names = {training.leader.trial for training in every}
    return [_in_words(record) for record in ranked(records) if record.trial in names]


def _in_words(record: TrialRecord) -> str:
    mean, sd = confirmed_hmean(record), confirmed_sd(record)
    if mean is None:
        return f"trial {record.trial} has no score of a new seed: {record.reason}"
    spread = "" if sd is None else f" ± {sd:.4f}"
    seeds = f"{len(record.confirmed)} new seed{'s' if len(record.confirmed) > 1 else ''}"
    return f"trial {record.trial}: H-mean {mean:.4f}{spread} of {seeds} (first {record.hmean:.4f})"
