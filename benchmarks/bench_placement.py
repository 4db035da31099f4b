"""How long a trial waits for its first line of code, with new processes and with reused ones.

`python benchmarks/bench_placement.py [trials=6]` runs trials that only import what a training
imports, one after another, on a real Ray. The first trial's time runs from when it is proposed,
that of a later one from when the trial before it was done; both end when imports are done.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from ray import tune
from ray.tune.search import Searcher
from timing import run

from orchestrator.execute.memory_kills import memory_kills_reported
from orchestrator.execute.worker import in_this_process
from orchestrator.place.cluster import connected
from orchestrator.place.resources import Machine

DEFAULTS = {"trials": 6}


class Proposals(Searcher):
    """So many trials; `begun` is the time at which the first was proposed."""

    def __init__(self, trials: int, folder: Path) -> None:
        super().__init__(metric="done", mode="max")
        self._left, self._folder, self.begun = list(range(trials)), folder, 0.0

    def suggest(self, _trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        if not self._left:
            return Searcher.FINISHED
        self.begun = self.begun or time.time()
        return {"path": str(self._folder / f"{self._left.pop(0)}.json")}

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Nothing depends on it."""

    def save(self, _path: str) -> None:
        """Nothing to save."""

    def restore(self, _path: str) -> None:
        """Nothing to restore."""


def trainable() -> Callable[[dict[str, Any]], None]:
    """A trial that writes down when it began and when it could have trained.

    A closure, so that workers get the code and need not find this file.
    """

    def begin(config: dict[str, Any]) -> None:
        begun = time.time()

        def body() -> None:
            import detector.training.trainer  # noqa: F401  # what takes its time in a new process

            found = {"process": os.getpid(), "begun": begun, "ready": time.time()}
            Path(config["path"]).write_text(json.dumps(found))
            tune.report({"done": 1})

        in_this_process(body, explain=str, report=lambda reason: tune.report({"error": reason}))

    return begin


def waits(trials: int, *, reuse: bool) -> list[dict[str, float]]:
    """Seconds until each trial `begun` and was `ready`, and the `process` that it had."""
    with tempfile.TemporaryDirectory() as name, memory_kills_reported():
        folder = Path(name)
        proposals = Proposals(trials, folder)
        tune.Tuner(
            tune.with_resources(trainable(), {"CPU": 1}),
            tune_config=tune.TuneConfig(
                search_alg=proposals,
                num_samples=-1,
                max_concurrent_trials=1,
                reuse_actors=reuse,
            ),
            run_config=tune.RunConfig(name="tune", storage_path=str(folder / "ray"), verbose=0),
        ).fit()
        found = [json.loads((folder / f"{i}.json").read_text()) for i in range(trials)]
    before = [proposals.begun, *(trial["ready"] for trial in found[:-1])]
    return [
        trial | {key: trial[key] - start for key in ("begun", "ready")}
        for trial, start in zip(found, before, strict=True)
    ]


def report(found: dict[str, list[dict[str, float]]]) -> None:
    """Print seconds and, for later trials, the share of what new processes take."""
    name = "new process for each"
    usual = median(trial["ready"] for trial in found[name][1:])
    print(f"{'':22} processes   first trial   later: begun   ready   by new processes")
    for name, trials in found.items():
        begun = median(trial["begun"] for trial in trials[1:])
        ready = median(trial["ready"] for trial in trials[1:])
        processes = len({trial["process"] for trial in trials})
        print(
            f"{name:22} {processes:9} {trials[0]['ready']:11.2f} s {begun:11.2f} s {ready:6.2f} s "
            f"{ready / usual:17.3f}"
        )


def main(options: dict[str, Any]) -> None:
    trials = max(2, options["trials"])
    with connected(Machine(cpus=1, gpus=0)):
        report(
            {
                "new process for each": waits(trials, reuse=False),
                "process reused": waits(trials, reuse=True),
            }
        )


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
