"""What two searches ship after training the same number of epochs, all trained for real.

`python benchmarks/live_search.py [data=receipts] [policies=ray,ours] [epochs_in_all=36]
[backbones=mobilenetv3_small_100] [epochs=6] [grace=1] [factor=3] [train_pages=32] [val_pages=12]
[heldout_pages=20] [seeds=1] [concurrent=1] [output=live.json]` is `bench_search.py` without a
table: each policy searches the grid of `recorded_points.py`, by default with its light backbone
alone, and the post-processing settings that are recorded there. It stops once `epochs_in_all`
epochs have been trained, over all trials. The policies:

ray: Ray Tune, OptunaSearch and ASHAScheduler as Ray's documentation puts them together. Settings of
    the training and of post-processing are drawn together; a trial reports its H-mean.
ours: this project's search. Post-processing is scored from each trained model, not drawn; a trial
    reports the cross-fitted H-mean, pauses at each rung and goes on when it is among the best.

The incumbent is the epoch with the best score that the search was told, and what would be shipped
then. Its H-mean is the mean over the validation pages at the settings shipped with it: those drawn,
or those that are best over all these pages. Either search chose it by these pages, so it flatters;
the held-out H-mean does not. That is of the detector shipped in the end, on pages of the validation
split that neither search saw. With several seeds the table has means; `output` keeps every epoch of
every seed, and is written again after each search.

Mind that 32 pages are 8 steps an epoch: where every training still scores 0 after `grace` epochs,
`ours` has nothing to promote by and begins another one instead.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from live_policies import POLICIES, SHIPPED, Trained, incumbents
from policies import Rules, chosen
from record_trainings import given_or_drawn
from recorded_points import FIXED, SPACE
from timing import run

from detector.config.cli import log
from detector.config.postprocess import SweepConfig
from detector.config.sections import flatten
from detector.core.device import set_threads
from detector.core.errors import InputError
from detector.core.files import write_text
from detector.data.labels.annotations import read_split
from detector.data.labels.pages import Page, evenly_spaced
from detector.inference.detector import load_detector
from detector.inference.evaluation import evaluate
from orchestrator.place.cluster import connected
from orchestrator.place.resources import Machine
from orchestrator.run.trial_data import check_data
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace

DEFAULTS = {
    "data": None,
    "policies": "ray,ours",
    "epochs_in_all": 36,
    "backbones": "mobilenetv3_small_100",
    "epochs": 6,
    "grace": 1,
    "factor": 3,
    "train_pages": 32,
    "val_pages": 12,
    "heldout_pages": 20,
    "seeds": 1,
    "concurrent": 1,
    "output": None,
}
CORES = 2
PARTS = (4, 2, 1)  # the curve is read after a quarter of the epochs, half of them, all


@dataclass(frozen=True)
class Outcome:
    """One search.

    trials: those with a trained epoch. curve: the incumbent's H-mean after 1 / PARTS of the epochs.
    heldout: H-mean of what is shipped on pages that the search did not see. seconds: of wall time,
    Ray's start included. settings: the searched ones, as shipped. trained: in order of arrival.
    """

    seed: int
    trials: int
    epochs: int
    curve: list[float]
    heldout: float
    seconds: float
    settings: dict[str, Any]
    trained: tuple[Trained, ...]


def curve(trained: Sequence[Trained], enough: int) -> list[float]:
    """The incumbent's H-mean after 1 / PARTS of `enough` epochs, rounded up.

    A search that ended before has its last one there.
    """
    best = incumbents(trained)
    places = [min(-(-enough // part), len(best)) - 1 for part in PARTS]
    return [trained[best[place]].worth for place in places]


def space_of(options: Mapping[str, Any], root: Path, cache: Path) -> SearchSpace:
    """The space of the recorded trainings and their post-processing settings.

    It has as many trials as there are epochs, more than can be begun. Raises InputError for
    settings that the detector refuses.
    """
    choices = SPACE | {"model.backbone": tuple(options["backbones"].split(","))}
    choices |= {f"postprocess.{key}": values for key, values in SweepConfig().tried().items()}
    fixed = {key: value for key, value in FIXED.items() if key not in choices}
    fixed |= {
        "data.root": str(root),
        "data.cache": str(cache),
        "data.train_pages": options["train_pages"],
        "data.val_pages": options["val_pages"],
    }
    space = SearchSpace(
        name="live",
        description="",
        fixed=fixed,
        parameters={key: Parameter(key, "choice", values) for key, values in choices.items()},
        warm_start=(),
        budget=Budget(
            trials=options["epochs_in_all"],
            epochs=options["epochs"],
            grace_epochs=options["grace"],
            reduction_factor=options["factor"],
        ),
    )
    space.train_config({key: values[0] for key, values in choices.items()})
    return space


def heldout_pages(root: Path, selected: int, limit: int) -> list[Page]:
    """`limit` evenly spaced pages of those that `data.val_pages=selected` leaves out.

    InputError when it leaves out fewer.
    """
    taken = {page.name for page in read_split(root, "val", limit=selected).pages}
    left = [page for page in read_split(root, "val").pages if page.name not in taken]
    if len(left) < limit:
        raise InputError(
            f"heldout_pages: the split 'val' of {root} has {len(left)} pages beside the "
            f"{len(taken)} that the searches look at, got {limit}; lower it or val_pages"
        )
    return evenly_spaced(left, limit)


def search(
    name: str, space: SearchSpace, pages: Sequence[Page], seed: int, rules: Rules
) -> Outcome:
    """One search by a policy of `POLICIES`, on a Ray of its own, so that nothing outlives it."""
    enough, start = space.budget.trials, time.perf_counter()

    def told(trained: Sequence[Trained]) -> None:
        worth = trained[incumbents(trained)[-1]].worth
        log(f"{name}, seed {seed}: epoch {len(trained)} of {enough}, incumbent {worth:.4f}")

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with connected(Machine(cpus=max(CORES, rules.concurrent), gpus=0)):
            trained = POLICIES[name](space, folder, enough, seed, rules, told)
        seconds = time.perf_counter() - start
        detector, config = load_detector(folder / SHIPPED, device="cpu")
        heldout = evaluate(detector, pages).hmean
    used = flatten(config.model_dump())
    return Outcome(
        seed=seed,
        trials=len({epoch.trial for epoch in trained}),
        epochs=len(trained),
        curve=curve(trained, enough),
        heldout=heldout,
        seconds=round(seconds, 1),
        settings={key: used[key] for key in space.parameters},
        trained=tuple(trained),
    )


def table(found: Mapping[str, Sequence[Outcome]], enough: int) -> str:
    """The figures as Markdown, means over seeds."""
    after = [-(-enough // part) for part in PARTS]
    lines = [
        "| policy | seeds | trials begun | epochs | "
        + " | ".join(f"H-mean after {count}" for count in after)
        + " | held-out H-mean | seconds |",
        "|---|" + "---|" * (len(PARTS) + 5),
    ]
    for name, outcomes in found.items():
        begun, epochs, seconds = (
            f"{np.mean([getattr(o, key) for o in outcomes]):g}"
            for key in ("trials", "epochs", "seconds")
        )
        hmeans = [*np.mean([o.curve for o in outcomes], axis=0)]
        hmeans.append(np.mean([o.heldout for o in outcomes]))
        shown = " | ".join(f"{hmean:.4f}" for hmean in hmeans)
        lines.append(f"| {name} | {len(outcomes)} | {begun} | {epochs} | {shown} | {seconds} |")
    return "\n".join(lines)


def check(options: Mapping[str, Any]) -> list[str]:
    """The policies to run; InputError for what is wrong with the options alone."""
    names = chosen(options["policies"], POLICIES, factor=options["factor"])
    if options["grace"] > options["epochs"]:
        raise InputError(
            f"grace: must not exceed epochs={options['epochs']}, got {options['grace']}; lower it"
        )
    return names


def main(options: dict[str, Any]) -> None:
    names = check(options)
    rules = Rules(options["grace"], options["factor"], options["concurrent"])
    set_threads(1)  # of the scoring here; a training says so itself
    found: dict[str, list[Outcome]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as temporary:
        looked_at, heldout = options["val_pages"], options["heldout_pages"]
        sizes = {"images": options["train_pages"], "val_images": looked_at + heldout}
        root = given_or_drawn(options["data"], Path(temporary), **sizes)
        space = space_of(options, root, Path(temporary) / "cache")
        check_data(space)
        pages = heldout_pages(root, looked_at, heldout)
        for seed in range(options["seeds"]):
            for name, outcomes in found.items():
                outcomes.append(search(name, space, pages, seed, rules))
                write(options, found)
    print(table(found, options["epochs_in_all"]))


def write(options: dict[str, Any], found: Mapping[str, Sequence[Outcome]]) -> None:
    """Everything so far, to `output` where one is given."""
    if options["output"] is not None:
        outcomes = {name: [asdict(o) for o in several] for name, several in found.items()}
        text = json.dumps({"options": options, "fixed": FIXED, "outcomes": outcomes}, indent=1)
        write_text(Path(options["output"]), text + "\n")


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    run(main, DEFAULTS, __doc__ or "")
