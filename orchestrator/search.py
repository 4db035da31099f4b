"""`python -m orchestrator.search space=dbnetpp`: a search space in, the best detector out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from detector.cli import guarded, help_text, log, wants_help
from detector.config import TrainConfig
from detector.generations import forget_states
from orchestrator.config.limits import LimitReachedError, Watch
from orchestrator.config.settings import SearchConfig, run_name
from orchestrator.execute.bucket_run import bucket_run, kept
from orchestrator.execute.confirm import confirm, extra_cost, is_confirmed, spent
from orchestrator.execute.progress import Recorder, View
from orchestrator.execute.trial import TrialFunction, detector_trial
from orchestrator.execute.tuner import run_search
from orchestrator.place.cluster import cluster_address, connected
from orchestrator.place.interruption import INTERRUPTED, Interruption
from orchestrator.place.resources import TrialResources, describe, this_machine
from orchestrator.place.share import (
    cost_line,
    has_gpu,
    packed_share,
    require_gpus_for_their_hours,
    share,
)
from orchestrator.place.work import relative_work
from orchestrator.propose.halving import Halving, equal_cost
from orchestrator.propose.warm_start import points_for
from orchestrator.report_page.write import LiveReport, try_report
from orchestrator.results.conclusion import conclude, finish
from orchestrator.run import run_folder
from orchestrator.run import study as store
from orchestrator.run.command_line import SearchArguments, parse_arguments
from orchestrator.run.edits import edits
from orchestrator.run.endings import advice, again, explained
from orchestrator.run.trial_data import check_data, copied_data, with_data
from orchestrator.space import dry_run
from orchestrator.space.nested import mode_of, nested
from orchestrator.space.search_space import SearchSpace, load_space
from orchestrator.track.trackers import tracking
from orchestrator.trials.pareto import as_objectives


def main(arguments: Sequence[str], *, trial: TrialFunction | None = None) -> int:
    """Run or continue a search; returns the exit code. `trial` replaces the training.

    Raises InputError, before anything is written or started, for whatever is wrong with the
    command line, the space, the data, the run folder or the resources, and JobError when
    every trial failed.
    """
    config, overrides = parse_arguments(arguments)
    folder = config.runs_dir / run_name(config, datetime.now())
    gpu = has_gpu(config)
    if config.resume:
        config, space = reopened(folder, config, overrides, gpu=gpu)
    else:
        space = new_space(config, overrides, gpu=gpu)
        if config.dry_run:
            return preview(space, config, gpu=gpu)
        run_folder.require_new(folder)
        if run := bucket_run(config, folder):
            run.require_new()
    say_conditions(space, gpu=gpu)
    local = None if cluster_address() else share(config, space)
    config, space = with_data(config, space)
    pages = check_data(space)
    local = packed_share(config, space, local)
    require_gpus_for_their_hours(config, local)
    if not config.resume:
        if trial is None:
            log(cost_line(space, pages, local) + extra_cost(config.confirm, space))
        run_folder.create(folder, config, overrides, space)

    command = again(config, folder)
    with (
        run_folder.locked(folder),
        Interruption(advice(command)) as interruption,
        explained(folder, command),
        kept(config, folder),
    ):
        try:
            return searched(space, folder, config, local, trial, interruption.check)
        except KeyboardInterrupt:
            log(advice(command))
            return INTERRUPTED


def new_space(config: SearchConfig, overrides: Mapping[str, Any], *, gpu: bool) -> SearchSpace:
    """The space of a new search, as its settings ask for."""
    space = load_space(
        config.space,
        gpu=gpu,
        overrides={**overrides, **copied_data(config)},
        budget=config.budget,
        narrow=config.search.narrow,
    )
    space = warm_started(space, config.warm_start)
    nests = mode_of(space, config.search.postprocess) == "nested"
    return nested(space) if nests else space


def reopened(
    folder: Path, config: SearchConfig, overrides: Mapping[str, Any], *, gpu: bool
) -> tuple[SearchConfig, SearchSpace]:
    """The settings and the space of a run, which is copied from its bucket if it is not here."""
    if run := bucket_run(config, folder):
        run.restore()
    config, space = run_folder.reopen(folder, config, overrides, gpu=gpu)
    if changed := edits(space, config, run_folder.stored_overrides(folder)):
        log(
            f"{config.space}: this space is not what it was when the run began; {folder} goes on "
            "with its own space.yaml. To search the new one, start a run under another name\n  "
            + "\n  ".join(changed)
        )
    return config, space.with_fixed(copied_data(config))


def searched(
    space: SearchSpace,
    folder: Path,
    config: SearchConfig,
    local: TrialResources | None,
    trial: TrialFunction | None,
    check: Callable[[], None],
) -> int:
    """Open the study, run what is missing, and write and show what it gave; the exit code."""
    url = store.storage_url(folder, config.storage)
    study = store.open_study(url, run_folder.study_name(folder), resume=config.resume)
    # Only now: trials that a search without a study could not add must not be counted.
    run_folder.remember(folder, config, trials=space.budget.trials)
    try:
        search(study, space, folder, config, local, trial, check)
    except KeyboardInterrupt:
        finish(store.read_records(study), space, folder, config.search.trade_off())
        try_report(study, space, folder, config, pages=False)
        raise
    except LimitReachedError as reached:
        log(f"{reached}; running trials keep their last epoch. To go on, add a larger limit to")
        log(f"  {again(config, folder)}")
    try_report(study, space, folder, config)
    return conclude(store.read_records(study), space, folder, config.search.trade_off())


def search(
    study: Any,
    space: SearchSpace,
    folder: Path,
    config: SearchConfig,
    local: TrialResources | None,
    trial: TrialFunction | None,
    check: Callable[[], None],
) -> None:
    """Start or join Ray, run the trials that are missing, and confirm the best as asked for."""
    missing = len(store.ended(study)) < space.budget.trials
    if not missing:
        log(f"{folder}: all {space.budget.trials} trials are over; budget.trials=N adds some")
        if is_confirmed(study, space, folder, config.confirm):
            return
    address = cluster_address()
    log(f"joining Ray at {address}" if address else "starting Ray, which takes a few seconds")
    with connected(this_machine()) as machines:
        resources = local or share(config, space, machines=machines)
        trial = trial or detector_trial(space, threads=resources.cpus, data_from=config.data_from)
        watch = Watch(
            config.budget.limits(),
            lambda: [*store.spending(study), *spent(study)],
            gpus=resources.gpus,
        )
        reached = None
        try:
            if missing:
                run_trials(study, space, folder, config, resources, trial, check, watch)
        except LimitReachedError as limit:
            reached = limit  # patience ends a search, and its best are confirmed all the same
        confirm(
            study,
            space,
            folder,
            config,
            trial=trial,
            resources=resources,
            check=check,
            watch=watch,
        )
        if reached:
            raise reached


def run_trials(
    study: Any,
    space: SearchSpace,
    folder: Path,
    config: SearchConfig,
    resources: TrialResources,
    trial: TrialFunction,
    check: Callable[[], None],
    watch: Watch,
) -> None:
    """Run the trials that are missing, and show how they fare."""
    log(
        f"{folder}: {space.budget.trials} trials of up to {space.budget.epochs} epochs; "
        f"{describe(resources)}"
    )
    view = View(
        Console(),
        trials=space.budget.trials,
        epochs=space.budget.epochs,
        parameters=list(space.parameters),
    )
    live = LiveReport(study, space, folder, config, say=view.say)
    run = bucket_run(config, folder)

    def reported() -> None:
        watch.reported()
        live()

    recorder = Recorder(
        study,
        folder,
        view,
        parameters=space.parameters,
        objectives=config.search.trade_off(),
        checks=(check, watch.check),
        reported=reported,
        forget=run.forget_states if run else forget_states,
    )
    with view, tracking(config.track, study, folder, view.say) as trackers:
        run_search(
            study=study,
            space=space,
            folder=folder.resolve(),
            trial=trial,
            resources=resources,
            seed=config.seed,
            halving=halving_of(space, config),
            objectives=as_objectives(config.search.objectives),
            callbacks=[recorder, *trackers],
            hang_minutes=config.budget.hang_minutes,
            kept=run,
        )
        recorder.close()


def halving_of(space: SearchSpace, config: SearchConfig) -> Halving | None:
    """How trials pause and go on; None where Ray's ASHA stops them instead."""
    if config.search.scheduler == "asha":
        return None
    budget = space.budget
    return Halving(
        epochs=budget.epochs,
        grace=budget.grace_epochs,
        factor=budget.reduction_factor,
        every=space.fixed.get("train.eval_every", TrainConfig().train.eval_every),
        cost=relative_work(space) if config.search.compare == "cost" else equal_cost,
    )


def warm_started(space: SearchSpace, ref: str | None) -> SearchSpace:
    """The space with the points of `ref` (see `points_for`) before its own."""
    if ref is None:
        return space
    points, notes = points_for(ref, space)
    own = [point for point in space.warm_start if point not in points]
    return replace(space, warm_start=(*points, *own), notes=(*space.notes, *notes))


def preview(space: SearchSpace, config: SearchConfig, *, gpu: bool) -> int:
    """Show what would be searched, and what it would cost; nothing is written."""
    say_conditions(space, gpu=gpu)
    local = None if cluster_address() else share(config, space)
    pages = space.fixed["data.train_pages"] if space.demo else check_data(space)
    local = packed_share(config, space, local)
    cost = cost_line(space, pages, local) + extra_cost(config.confirm, space)
    dry_run.show(space, seed=config.seed, cost=cost, console=Console())
    return 0


def say_conditions(space: SearchSpace, *, gpu: bool) -> None:
    """One line for everything that was chosen for the user."""
    if not gpu:
        log("no GPU: trials train on the CPU, with the space's choices for it")
    if space.demo:
        log("no data.root: trials train on synthetic receipts; give data.root=FOLDER for your own")
    for note in space.notes:
        log(note)


def command() -> NoReturn:
    """The command line: help, then the search, then its exit code."""
    arguments = sys.argv[1:]
    if wants_help(arguments):
        text = help_text(
            SearchArguments,
            program="python -m orchestrator.search",
            description="Search for the best text detector: Optuna proposes settings, Ray "
            "Tune trains them, CLEval's H-mean ranks them. Detector settings given here are "
            "fixed for every trial. RAY_ADDRESS=auto uses a running Ray cluster.",
        )
        raise SystemExit(guarded(lambda: print(text)))
    raise SystemExit(guarded(lambda: main(arguments)))


if __name__ == "__main__":
    command()
