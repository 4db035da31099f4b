"""Does a search of many trials stay as fast, and as small, as it began?

`python benchmarks/bench_scale.py [trials=1000] [paused=600] [nodes=4] [cpus=2] [pages=100]
[data=FOLDER]` runs the search command itself, with trials that do nothing, on a cluster of `nodes`
simulated machines with `cpus` cores each. A trial pauses at rungs of 1, 3 and 9 epochs, and reports
the scores of `pages` validation pages, so that the study, the leaderboard, `best/` and
TensorBoard's files have their usual work. Without `data` the synthetic receipts of space=smoke are
made.

Printed: what a proposal and a report take in a study with a twelfth of `paused` paused trials, with
a third and with all of them; then seconds a trial in the first and in the last hundred and their
ratio, the driver's memory after the first hundred and at the end, and how often the leaderboard was
seen to have grown.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ray.cluster_utils import Cluster
from timing import run

from detector.core.errors import InputError
from orchestrator import search
from orchestrator.compare.halving import Halving
from orchestrator.config.settings import SearchConfig
from orchestrator.execute.trial import Report
from orchestrator.propose.search_jobs import SearchJobs
from orchestrator.run.run import Run, stored_run
from orchestrator.run.study import open_study
from orchestrator.space.search_space import load_space
from orchestrator.store.storage import storage_url
from orchestrator.trials.job import TrialJob

DEFAULTS = {"trials": 1000, "paused": 600, "nodes": 4, "cpus": 2, "pages": 100, "data": None}
AT_EACH = 5  # proposals and reports beside so many paused trials
PART = 100  # trials at each end that are compared; of fewer than 200, a half
MIB = 1 << 20
SPACE = """\
fixed: {{data.longest_side_px: 224}}
parameters:
  model.backbone: {{choice: [resnet18, resnet34]}}
  loss.negative_ratio: {{uniform: [1.0, 8.0]}}
  loss.threshold_weight: {{uniform: [5.0, 15.0]}}
  optimizer.lr: {{log_uniform: [5.0e-4, 4.0e-3]}}
budget: {{trials: {trials}, epochs: 9, grace_epochs: 1, reduction_factor: 3}}
"""

EPOCHS = 9


def no_op(pages: int) -> Callable[[TrialJob, Report], None]:
    """A trial that trains nothing; its score depends on its settings."""

    def trial(job: TrialJob, report: Report) -> None:
        best = job.folder / "checkpoint" / "best"
        best.mkdir(parents=True, exist_ok=True)
        (best / "config.yaml").write_text("model: {}\n")
        report(report_of(job, pages))

    return trial


def report_of(job: TrialJob, pages: int) -> dict[str, Any]:
    """What a trial says of the epoch that it is to be trained to."""
    epoch = job.until or EPOCHS
    scores = np.random.default_rng(job.number).uniform(0.8, 1.0, pages) + epoch / 100
    return {
        "epoch": epoch,
        "best_epoch": epoch,
        "best_hmean": float(np.mean(scores)),
        "finished": epoch == EPOCHS,
        "seconds": float(epoch),
        "params_m": 1.0,
        "checkpoint": f"trials/{job.folder.name}/checkpoint/best",
        "page_hmeans": {f"page_{i:04d}.jpg": score for i, score in enumerate(scores.tolist())},
    }


def with_paused(folder: Path, paused: int, pages: int) -> list[tuple[int, float, float]]:
    """Paused trials, and the seconds of a proposal and of a report beside so many.

    Each is the median of `AT_EACH`. The rungs hold all trials back, so that none goes on.
    """
    text = SPACE.format(trials=2 * paused).replace("reduction_factor: 3", "reduction_factor: 9")
    folder.mkdir()
    (folder / "space.yaml").write_text(text)
    space = load_space(str(folder / "space.yaml"), gpu=False)
    study = open_study(storage_url(folder, None), "paused", resume=False)
    run = Run(folder, SearchConfig(space="paused"), space, study)
    halving = Halving(EPOCHS, grace=1, factor=10_000)
    jobs = SearchJobs(run, halving)
    found = []
    for number in range(paused + AT_EACH):
        started = time.perf_counter()
        job = jobs.next_job()
        proposed = time.perf_counter()
        assert job is not None
        report = report_of(job, pages)
        before = time.perf_counter()
        jobs.reported(job, report)
        reported = time.perf_counter()
        jobs.ended(job, report)
        found.append((number, proposed - started, reported - before))
    return [
        (
            count,
            statistics.median(p for n, p, _ in found if count <= n < count + AT_EACH),
            statistics.median(r for n, _, r in found if count <= n < count + AT_EACH),
        )
        for count in (paused // 12, paused // 3, paused)
    ]


def resident_bytes() -> int:
    """The memory that this process holds, on Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Observer(threading.Thread):
    """Looks at this process and at the leaderboard twice a second."""

    def __init__(self, leaderboard: Path) -> None:
        super().__init__(daemon=True)
        self._leaderboard = leaderboard
        self._over = threading.Event()
        self.seen: list[tuple[int, int]] = []  # rows of the leaderboard, bytes of this process

    def run(self) -> None:
        """Until `stop`."""
        while not self._over.wait(0.5):
            if self._leaderboard.is_file():
                rows = self._leaderboard.read_text().count("\n") - 1
                self.seen.append((rows, resident_bytes()))

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()


def main(options: dict[str, Any]) -> None:
    if options["trials"] < 4:
        raise InputError(f"trials: must be at least 4, to compare halves, got {options['trials']}")
    if options["paused"] < 12:
        raise InputError(f"paused: must be at least 12, got {options['paused']}")
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        print("\n| paused trials | seconds a proposal | seconds a report |\n|---|---|---|")
        for count, proposal, report in with_paused(
            Path(name) / "paused", options["paused"], options["pages"]
        ):
            print(f"| {count} | {proposal:.4f} | {report:.4f} |", flush=True)
    head = {"num_cpus": options["cpus"], "include_dashboard": False}
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(options["nodes"] - 1):
                cluster.add_node(num_cpus=options["cpus"])
            os.environ["RAY_ADDRESS"] = cluster.address
            times, seen = searched(Path(name), options)
        finally:
            cluster.shutdown()
    show(times, seen, options)


def searched(folder: Path, options: dict[str, Any]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """When each trial was begun, in seconds, in order; and what the observer saw."""
    (folder / "space.yaml").write_text(SPACE.format(trials=options["trials"]))
    made = folder / "runs" / "scale"
    watching = Observer(made / "leaderboard.csv")
    watching.start()
    arguments = [f"space={folder / 'space.yaml'}", "name=scale", f"runs_dir={folder / 'runs'}"]
    arguments += ["resources.cpus_per_trial=1", "resources.gpus_per_trial=0"]
    if options["data"] is not None:
        arguments.append(f"data.root={options['data']}")
    if search.main(arguments, trial=no_op(options["pages"])) != 0:
        raise InputError("the search was interrupted; run it again")
    watching.stop()
    begun = [trial.datetime_start for trial in stored_run(made).study.trials]
    return np.array(sorted(when.timestamp() for when in begun if when)), watching.seen


def show(times: np.ndarray, seen: list[tuple[int, int]], options: dict[str, Any]) -> None:
    """One table for the docs."""
    part = min(PART, len(times) // 2)
    first = (times[part] - times[0]) / part
    last = (times[-1] - times[-1 - part]) / part
    memory = [size for rows, size in seen if rows >= part]
    growth = (memory[-1] - memory[0]) / MIB
    versions = len({rows for rows, _ in seen})
    print(
        f"\n{len(times)} trials on {options['nodes']} simulated nodes with {options['cpus']} cores "
        f"each, {options['pages']} pages a trial, {time.strftime('%H:%M:%S')}\n\n"
        "| figure | value |\n|---|---|\n"
        f"| seconds a trial, first {part} | {first:.3f} |\n"
        f"| seconds a trial, last {part} | {last:.3f} |\n"
        f"| last over first | {last / first:.2f} |\n"
        f"| driver's memory after {part} trials | {memory[0] / MIB:.0f} MiB |\n"
        f"| and at the end | {memory[-1] / MIB:.0f} MiB ({growth:+.0f}) |\n"
        f"| versions of the leaderboard seen | {versions} |"
    )


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
