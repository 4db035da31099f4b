"""`python -m orchestrator.search space=dbnetpp`: a search space in, the best detector out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from optuna.exceptions import StorageInternalError
from rich.console import Console

from detector.cli import guarded, help_text, log, wants_help
from detector.config import DataConfig
from detector.data.annotations import read_split, require_words
from detector.data.synthetic import synthesize
from detector.errors import InputError, JobError
from orchestrator import run_folder
from orchestrator import study as store
from orchestrator.cluster import cluster_address, connected
from orchestrator.config import SearchArguments, SearchConfig, parse_arguments, run_name
from orchestrator.leaderboard import best
from orchestrator.progress import Recorder, View, write_results
from orchestrator.records import TrialRecord, TrialState
from orchestrator.report import print_leaderboard
from orchestrator.resources import TrialResources, allot, describe, this_machine
from orchestrator.space import SearchSpace, load_space
from orchestrator.trial import TrialFunction, detector_trial
from orchestrator.tuner import run_search

DATA_SEED = 0  # of the synthetic receipts: the search's seed must not change its data


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
        config, space = run_folder.reopen(folder, config, overrides, gpu=gpu)
    else:
        space = load_space(config.space, gpu=gpu, overrides=overrides, budget=config.budget)
        run_folder.require_new(folder)
    say_conditions(space, gpu=gpu)
    local = None if cluster_address() else share(config, space)
    space = with_data(space, config.runs_dir)
    check_data(space)
    if not config.resume:
        run_folder.create(folder, config, overrides, space)

    with run_folder.locked(folder), Interruption() as interruption:
        study = store.open_study(
            store.storage_url(folder, config.storage), folder.name, resume=config.resume
        )
        try:
            search(study, space, folder, config, local, trial, interruption.check)
        except KeyboardInterrupt:
            finish(store.read_records(study), space, folder)
            log("interrupted; every finished epoch is saved. Continue with:")
            log(f"  {again(config, folder)}")
            return 130
        except StorageInternalError as error:
            raise JobError(
                f"{folder}: the study's database cannot be written ({error.__cause__ or error}); "
                f"check the disk, then continue with:\n  {again(config, folder)}"
            ) from None
        return conclude(store.read_records(study), space, folder)


def search(
    study: Any,
    space: SearchSpace,
    folder: Path,
    config: SearchConfig,
    local: TrialResources | None,
    trial: TrialFunction | None,
    check: Callable[[], None],
) -> None:
    """Start or join Ray, and run the trials that are missing."""
    if len(store.ended(study)) >= space.budget.trials:
        log(f"{folder}: all {space.budget.trials} trials are over; budget.trials=N adds some")
        return
    with connected(this_machine()) as machines:
        resources = local or share(config, space, machines=machines)
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
        recorder = Recorder(study, folder, view, parameters=list(space.parameters), check=check)
        with view:
            run_search(
                study=study,
                space=space,
                folder=folder.resolve(),
                trial=trial or detector_trial(space, threads=resources.cpus),
                resources=resources,
                seed=config.seed,
                callbacks=[recorder],
            )


def has_gpu(config: SearchConfig) -> bool:
    """Whether trials will train on GPUs; a cluster is taken to have some."""
    if config.resources.gpus_per_trial is not None:
        return config.resources.gpus_per_trial > 0
    return cluster_address() is not None or this_machine().gpus > 0


def say_conditions(space: SearchSpace, *, gpu: bool) -> None:
    """One line for everything that was chosen for the user."""
    if not gpu:
        log("no GPU: trials train on the CPU, with the space's choices for it")
    if space.demo:
        log("no data.root: trials train on synthetic receipts; give data.root=FOLDER for your own")
    for note in space.notes:
        log(note)


def share(
    config: SearchConfig, space: SearchSpace, *, machines: Sequence[Any] | None = None
) -> TrialResources:
    """What a trial reserves, on this machine or among a cluster's."""
    resources = allot(
        [this_machine()] if machines is None else machines,
        trials=space.budget.trials,
        gpus_per_trial=config.resources.gpus_per_trial,
        cpus_per_trial=config.resources.cpus_per_trial,
        concurrent=config.budget.concurrent,
        growing=machines is not None,
    )
    if space.fixed.get("train.device") == "cuda" and resources.gpus == 0:
        raise InputError(
            "train.device: cuda needs a GPU per trial; use auto, or give "
            "resources.gpus_per_trial on a machine with a GPU"
        )
    return resources


def with_data(space: SearchSpace, runs_dir: Path) -> SearchSpace:
    """The space with an absolute data.root: trials may run in other working folders.

    Without a data.root synthetic receipts are made in `runs_dir`, once for all runs.
    """
    if not space.demo:
        return space.with_fixed({"data.root": str(Path(space.fixed["data.root"]).resolve())})
    train, val = space.fixed["data.train_pages"], space.fixed["data.val_pages"]
    root = synthesize(
        (runs_dir / f"synthetic-receipts-{train}-{val}").resolve(),
        images=train,
        val_images=val,
        seed=DATA_SEED,
        log=log,
    )
    return space.with_fixed({"data.root": str(root)})


def check_data(space: SearchSpace) -> None:
    """InputError with what is wrong in both splits, before any trial starts."""
    data = DataConfig.model_validate(
        {k.removeprefix("data."): v for k, v in space.fixed.items() if k.startswith("data.")}
    )
    assert data.root is not None
    faults = []
    for split in dict.fromkeys((data.train_split, data.val_split)):
        try:
            found = read_split(data.root, split, exclude=data.exclude)
            require_words(found, data.root)
        except InputError as error:
            faults.append(str(error))
            continue
        if found.faults:
            log(
                f"{split}: {len(found.faults)} annotation faults, skipped; "
                f"python -m detector.inspect data.root={data.root} lists them"
            )
    if faults:
        raise InputError("\n".join(dict.fromkeys(faults)))


def conclude(records: Sequence[TrialRecord], space: SearchSpace, folder: Path) -> int:
    """Leaderboard, where everything lies, what to do next; JobError when all trials failed."""
    finish(records, space, folder)
    if best(records) is None:
        reasons = {f"trial {r.trial}: {r.reason}" for r in records if r.state is TrialState.FAILED}
        raise JobError(
            "no trial has a score; whole errors are in "
            f"{folder}/trials/*/error.txt\n" + "\n".join(sorted(reasons))
        )
    root = space.fixed["data.root"]
    print(
        f"\nleaderboard  {folder}/leaderboard.csv\n"
        f"best model   {folder}/best/\n"
        f"curves       tensorboard --logdir {folder}\n"
        "\nnext:\n"
        f"  python -m detector.tune_postprocess checkpoint={folder}/best data.root={root} "
        "data.split=train data.pages=100 write=true\n"
        f"  python -m detector.predict checkpoint={folder}/best images={root}/images/val "
        f"output=predictions.json\n"
        f"  python -m detector.train config={folder}/best/config.yaml output={folder}/longer "
        f"train.epochs={space.budget.epochs * 3}"
    )
    return 0


def finish(records: Sequence[TrialRecord], space: SearchSpace, folder: Path) -> None:
    """Write the results as they stand, and show them."""
    write_results(folder, records, list(space.parameters))
    print_leaderboard(records, list(space.parameters))


def again(config: SearchConfig, folder: Path) -> str:
    """The command that continues this run."""
    where = "" if config.runs_dir == Path("runs") else f" runs_dir={config.runs_dir}"
    return (
        f"python -m orchestrator.search space={config.space} name={folder.name}{where} resume=true"
    )


class Interruption:
    """Lets Ctrl-C and SIGTERM (a batch system, `kill`) end the block as KeyboardInterrupt.

    An exception out of a signal handler is lost when the signal arrives inside a finalizer
    or a callback from C; whoever calls `check` regularly raises it again.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt when the user has asked to stop."""
        if self._asked:
            raise KeyboardInterrupt

    def _stop(self, _signal: int, _frame: FrameType | None) -> NoReturn:
        self._asked = True
        raise KeyboardInterrupt


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
