"""`python -m orchestrator.search space=dbnetpp`: a search space in, the best detector out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from detector.config.answer import answer_error
from detector.config.cli import log, run_with_arguments
from detector.core.files import require_writable
from orchestrator.compare.decisions import comparison_of
from orchestrator.compare.disk import require_room
from orchestrator.config.limits import LimitReachedError, Watch
from orchestrator.config.settings import SearchConfig, run_name
from orchestrator.events.file import EventFile
from orchestrator.events.kinds import Limit, Tell
from orchestrator.execute.confirm import confirm
from orchestrator.execute.events import Events
from orchestrator.execute.recorder import Recorder, unlink
from orchestrator.execute.session import Session
from orchestrator.execute.trial import TrialFunction, detector_trial
from orchestrator.execute.tuner import run_search
from orchestrator.forecast.outlook import Outlook
from orchestrator.machines.ask import require_alike, sides
from orchestrator.place.cluster import cluster_address, connected
from orchestrator.place.cost import check_starts, sizes
from orchestrator.place.interruption import INTERRUPTED, Interruption
from orchestrator.place.preflight import require_ready
from orchestrator.place.resources import TrialResources, describe, this_machine
from orchestrator.place.share import (
    cluster_share,
    cost_line,
    has_gpu,
    packed_share,
    require_gpus_for_their_hours,
    share,
)
from orchestrator.place.waiting import require_fit
from orchestrator.propose.confirmation import extra_cost, is_confirmed
from orchestrator.propose.warm_start import points_for
from orchestrator.report_page.write import LiveReport, try_report
from orchestrator.results.conclusion import conclude, finish
from orchestrator.results.live import View
from orchestrator.results.session import session_told
from orchestrator.run import run_folder
from orchestrator.run.bucket_run import bucket_run, is_begun, kept
from orchestrator.run.command_line import SearchArguments, parse_arguments
from orchestrator.run.edits import edits
from orchestrator.run.endings import advice, again, explained
from orchestrator.run.run import Run, open_run
from orchestrator.run.spending import spending
from orchestrator.run.trial_data import check_data, copied_data, with_data
from orchestrator.space import dry_run
from orchestrator.space.first_weights import scratch_note
from orchestrator.space.nested import as_searched
from orchestrator.space.search_space import SearchSpace
from orchestrator.space.starts import load_available
from orchestrator.track.trackers import tracking


def main(arguments: Sequence[str], *, trial: TrialFunction | None = None) -> int:
    """Run or continue a search; returns the exit code. `trial` replaces the training.

    Raises InputError, before anything is written or started, for whatever is wrong with the
    command line, the space, the data, the run folder or the resources, and JobError when
    every trial failed.
    """
    config, overrides = parse_arguments(arguments)
    folder = config.runs_dir / run_name(config, datetime.now())
    gpu = has_gpu(config)
    if not config.dry_run:
        require_writable("runs_dir", folder, folder=True)
    if config.resume == "auto":
        config = config.model_copy(update={"resume": is_begun(config, folder)})
    if config.resume:
        config, space = reopened(folder, config, overrides, gpu=gpu)
    else:
        space = new_space(config, overrides, gpu=gpu)
        if config.dry_run:
            return preview(space, config, gpu=gpu)
        run_folder.require_new(folder)
        if run := bucket_run(config, folder):
            run.require_new()
    require_ready()
    say_conditions(space, gpu=gpu)
    local = None if cluster_address() else share(config, space)
    config, space = with_data(config, space)
    pages = check_data(space)
    local = packed_share(config, space, local)
    require_within_limits(config, space, local)
    if not config.resume:
        if trial is None:
            say_scratch(space)
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
            return searched(open_run(folder, config, space), local, trial, interruption)
        except KeyboardInterrupt:
            log(advice(command))
            answer_error("interrupted", advice(command), INTERRUPTED)
            return INTERRUPTED


def new_space(config: SearchConfig, overrides: Mapping[str, Any], *, gpu: bool) -> SearchSpace:
    """The space of a new search, as its settings ask for."""
    space = load_available(
        config.space,
        gpu=gpu,
        overrides={**overrides, **copied_data(config)},
        budget=config.budget,
        narrow=config.search.narrow,
    )
    space = as_searched(warm_started(space, config.warm_start), config.search.postprocess)
    check_starts(space)
    return space


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
    run: Run, local: TrialResources | None, trial: TrialFunction | None, interruption: Interruption
) -> int:
    """Run what is missing, and write and show what it gave; the exit code."""
    # Only now: trials that a search without a study could not add must not be counted.
    run_folder.remember(run.folder, run.config, trials=run.space.budget.trials)
    file = EventFile(run.folder, log)
    with session_told(run, file) as ending:
        try:
            search(run, local, trial, interruption, file.append)
        except KeyboardInterrupt:
            run.read_again()
            finish(run, tell=file.append)
            try_report(run, pages=False)
            raise
        except LimitReachedError as reached:
            ending.limit = str(reached)
            log(f"{reached}; running trials keep their last epoch. To go on, {reached.remedy}")
            log(f"  {run.to_go_on}")
        try_report(run)
        return conclude(run, file.append)


def search(
    run: Run,
    local: TrialResources | None,
    trial: TrialFunction | None,
    interruption: Interruption,
    write: Tell,
) -> None:
    """Start or join Ray, run the trials that are missing, and confirm the best as asked for."""
    config, trials = run.config, run.space.budget.trials
    if not run.left:
        log(f"{run.folder}: all {trials} trials are over; budget.trials=N adds some")
        if is_confirmed(run):
            return
    address = cluster_address()
    log(f"joining Ray at {address}" if address else "starting Ray, which takes a few seconds")
    with connected(this_machine()) as machines:
        if len(machines) > 1:
            require_alike(*sides(config, run.space))
        resources = local or cluster_share(config, run.space, machines)
        require_fit(resources)
        trial = trial or detector_trial(
            run.space,
            threads=resources.cpus,
            gpus=resources.gpus,
            memory_factors=resources.memory_factors,
            data_from=config.data_from,
        )
        session = Session(
            run,
            trial,
            resources,
            Watch(config.budget.limits(), partial(spending, run.study), gpus=resources.gpus),
            interruption,
            write,
        )
        reached = None
        for work in (run_trials, confirm):
            try:
                work(session)
            except LimitReachedError as limit:
                if str(limit) != str(reached):
                    write(Limit(reason=str(limit)))
                reached = limit  # patience ends a search, and its best are confirmed all the same
        if reached:
            raise reached


def run_trials(session: Session) -> None:
    """Run the trials that are missing, if any are, and show how they fare."""
    run, budget = session.run, session.run.space.budget
    if not run.left:
        return
    log(
        f"{run.folder}: {budget.trials} trials of up to {budget.epochs} epochs; "
        f"{describe(session.resources)}"
    )
    view = View(Console(), trials=budget.trials, epochs=budget.epochs, parameters=run.parameters)
    delete = session.kept.delete if session.kept else unlink
    events = Events(run, session.write, view.tell)
    recorder = Recorder(run, view, delete, events.tell)
    with view, tracking(run, events.say) as trackers, closing(events):
        live = LiveReport(run, say=events.say)
        outlook = Outlook(run, view, gpus=session.resources.gpus)
        # What is left of a job is known before the line on its epoch is made.
        listeners = [outlook, events, recorder, session.watch, *trackers, live]
        run_search(session, listeners, events.say, events.decided)
        events.close()
        recorder.close()


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
    say_scratch(space)
    local = None if cluster_address() else share(config, space)
    pages = space.fixed["data.train_pages"] if space.demo else check_data(space)
    local = packed_share(config, space, local)
    require_within_limits(config, space, local)
    cost = cost_line(space, pages, local) + extra_cost(config.confirm, space)
    rungs = comparison_of(space, config).goes_on()
    dry_run.show(space, seed=config.seed, rungs=rungs, cost=cost, console=Console())
    return 0


def require_within_limits(
    config: SearchConfig, space: SearchSpace, local: TrialResources | None
) -> None:
    """InputError for a limit of the budget under which no trial could run, or no search end."""
    require_gpus_for_their_hours(config, local)
    if config.budget.disk_gb is not None:
        require_room(config.budget.disk_gb, sizes(space), log)


def say_conditions(space: SearchSpace, *, gpu: bool) -> None:
    """One line for everything that was chosen for the user."""
    if not gpu:
        log("no GPU: trials train on the CPU, with the space's choices for it")
    if space.demo:
        log("no data.root: trials train on synthetic receipts; give data.root=FOLDER for your own")
    for note in space.notes:
        log(note)


def say_scratch(space: SearchSpace) -> None:
    """Which trials would have no published weights, where some would not."""
    if note := scratch_note(space):
        log(note)


if __name__ == "__main__":
    run_with_arguments(
        main,
        SearchArguments,
        program="python -m orchestrator.search",
        description="Search for the best text detector: Optuna proposes settings, Ray "
        "Tune trains them, CLEval's H-mean ranks them. Detector settings given here are "
        "fixed for every trial. RAY_ADDRESS=auto uses a running Ray cluster.",
    )
