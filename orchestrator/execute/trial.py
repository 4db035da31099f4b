"""One trial: a point of the space becomes a training whose reports reach Ray Tune."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from detector.config.settings import TrainConfig, network_name, with_values
from detector.core.device_errors import is_out_of_memory, out_of_memory_text
from detector.core.errors import InputError, JobError
from detector.core.files import locked, write_text
from orchestrator.execute.worker import in_this_process
from orchestrator.store.own_disk import local_copy
from orchestrator.trials.job import TrialJob
from orchestrator.trials.records import METRIC

if TYPE_CHECKING:
    from detector.training.epoch_end import EpochReport
    from orchestrator.space.search_space import SearchSpace

REASON_LENGTH = 500
SIGN_S = 10.0  # between two signs of life
REPORT = "report"  # of Tune's result, in which mappings would be flattened; a list is left alone

# A report holds at least `epoch` (1 for the first), `best_hmean` and, in the last one,
# `finished: True`; of the best epoch `page_hmeans`, by name of the page, and `tuned`. An empty one
# is a sign of life, for what takes long before an epoch.
Report = Callable[[dict[str, Any]], None]
TrialFunction = Callable[[TrialJob, Report], None]
# Gives a job another folder for the time that it runs, and what must happen before its reports.
Place = Callable[[TrialJob, Report], AbstractContextManager[tuple[TrialJob, Report]]]


def detector_trial(
    space: SearchSpace,
    *,
    threads: int,
    gpus: float = 1.0,
    memory_factors: Mapping[str, float] | None = None,
    data_from: str | None = None,
) -> TrialFunction:
    """The trial function that trains the detector at a point of `space`.

    `gpus` is what a trial has of a GPU where its job does not say so, or how many it has, which
    then share each batch unless the space says `train.processes`. `memory_factors` has, for
    networks of which a step was measured, what it took over what was predicted. `data_from` is the
    address of a dataset in a bucket, of which each machine makes a copy.
    """

    def run(job: TrialJob, report: Report) -> None:
        # Ten seconds of imports, needed in workers only.
        from detector.core.device import set_threads
        from detector.training.rescore import rescore
        from detector.training.step_cost import FACTOR, Room
        from detector.training.trainer import train

        # Not a setting of the training: whoever trains the best config further has other cores.
        set_threads(threads)
        own = {} if job.seed is None else {"train.seed": job.seed}
        config = with_values(space.train_config(job.params), own | dict(job.values))
        share = gpus if job.where.gpus is None else job.where.gpus
        if "train.processes" not in {*space.fixed, *space.parameters}:
            config = on_gpus(config, share, threads=threads)
        if data_from is not None:
            root = local_copy(data_from, alive=signs_of_life(report))
            config = with_values(config, {"data.root": str(root)})
        reported = False

        def forward(epoch: EpochReport) -> None:
            nonlocal reported
            reported = True
            report(summary(epoch, job.folder))

        with Log(job.folder / "log.txt") as log, held(job.folder, log):
            if job.twin is not None:
                scored = rescore(config, job.folder, log=log, **vars(job.twin))
                report(summary(scored, job.folder) | of_the_best(scored))
                return
            factor = (memory_factors or {}).get(network_name(config), FACTOR)
            last = train(
                config,
                job.folder,
                report=forward,
                resume=True,
                until=job.until,
                room=Room(1.0 if job.alone else min(share, 1.0) or 1.0, factor),
                log=log,
            )
        if not reported:  # it was done, and its last report was lost with the driver
            forward(last)

    return run


def on_gpus(config: TrainConfig, gpus: float, *, threads: int) -> TrainConfig:
    """The training with a process for each of several GPUs, which share the trial's `threads`.

    At most one for each crop of a batch; torch.compile, where it is asked for, knows one alone.
    """
    processes = 1 if config.train.compile else min(int(gpus), config.train.batch_size)
    if processes <= 1:
        return config
    each = max(1, threads // processes)
    return with_values(config, {"train.processes": processes, "train.threads": each})


def held(folder: Path, log: Callable[[str], None]) -> ExitStack:
    """The lock that keeps a training by hand out of a trial's folder.

    Where another process has it the trial goes on without, and `log` is told: that may be a worker
    that is beyond reach, which must not keep the trial from going on elsewhere.
    """
    stack = ExitStack()
    try:
        stack.enter_context(locked(folder, f"another process is at work in {folder}", log))
    except InputError as error:
        log(str(error))
    return stack


def summary(report: EpochReport, folder: Path) -> dict[str, Any]:
    """An epoch as the flat report of a trial; paths are relative to the run folder."""
    values: dict[str, Any] = dict(report.metrics)
    values["epoch"] = report.epoch
    values["finished"] = report.finished
    best = report.checkpoint / "best"
    values["checkpoint"] = str(Path("trials") / folder.name / best.relative_to(folder))
    if values.get("best_epoch") == report.epoch:
        values |= of_the_best(report)
    return values


def of_the_best(report: EpochReport) -> dict[str, Any]:
    """What is kept of the best epoch alone: its page scores and the settings chosen for it."""
    return {"page_hmeans": dict(report.page_hmeans), "tuned": dict(report.tuned)}


def signs_of_life(report: Report, every_s: float = SIGN_S) -> Callable[[], None]:
    """To be called as often as something is done; reports now and then that the worker lives."""
    last = time.monotonic()

    def alive() -> None:
        nonlocal last
        if time.monotonic() - last >= every_s:
            last = time.monotonic()
            report({})

    return alive


def in_place(job: TrialJob, report: Report) -> AbstractContextManager[tuple[TrialJob, Report]]:
    """The job in its own folder, which all machines share."""
    return nullcontext((job, report))


def as_trainable(
    function: TrialFunction, place: Place = in_place
) -> Callable[[dict[str, Any]], None]:
    """A Tune trainable around a trial function; its config has a TrialJob as `job`.

    An exception is the trial's own fault and would come again, so it is reported as a result and
    the trial ends; only what a process could not report, because it died, is tried again.
    """

    def trainable(config: dict[str, Any]) -> None:
        with place(config["job"], _forward) as (job, say):

            def work() -> None:
                job.folder.mkdir(parents=True, exist_ok=True)
                function(job, say)

            in_this_process(
                work,
                explain=lambda error: explain(error, job.folder),
                report=lambda reason: tune.report({REPORT: [{"error": reason}]}),
            )

    return trainable


def _forward(values: dict[str, Any]) -> None:
    if not values:
        tune.report({REPORT: [{}]})
        return
    if not math.isfinite(values[METRIC]):
        raise JobError(
            f"epoch {values['epoch']}: {METRIC} is {values[METRIC]}, not a finite number"
        )
    tune.report({"epoch": values["epoch"], METRIC: values[METRIC], REPORT: [values]})


def explain(error: Exception, folder: Path) -> str:
    """One line for tables; the whole traceback goes to `error.txt` in the trial's folder."""
    with suppress(OSError):  # a full disk may be the very error being reported
        write_text(folder / "error.txt", "".join(traceback.format_exception(error)))
    text = " ".join(str(error).split()) or "no message"
    if is_out_of_memory(error):
        return out_of_memory_text(error)[:REASON_LENGTH]
    if not isinstance(error, InputError | JobError):
        text = f"{type(error).__name__}: {text}"
    return text[:REASON_LENGTH]


class Log:
    """Appends lines to a file, as the `log` callable of a training."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def __call__(self, message: str) -> None:
        print(message, file=self._file)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
