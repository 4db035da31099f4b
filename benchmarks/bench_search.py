"""How many epochs searches train until they have a table's best model.

`python benchmarks/bench_search.py [table=benchmarks/trainings.npz] [policies=ray,ours] [seeds=20]
[cap=3000] [concurrent=1] [grace=1] [factor=3] [unit=epochs] [within=0.002] [output=search.json]`
replays searches on the trainings that `record_trainings.py` recorded. Each policy runs once per
seed, for real, on Ray with Optuna; a trial looks its scores up instead of training. The policies:

ray: Ray Tune, OptunaSearch and ASHAScheduler as Ray's documentation puts them together. Settings of
    the training and of post-processing are drawn together; a trial reports its H-mean.
ours: this project's search. Post-processing is scored from each trained model, not drawn; a trial
    reports the cross-fitted H-mean, pauses at each rung and goes on when it is among the best.
ray-nested: `ray` with the cross-fitted score, so that only the training is searched.
ours-asha: `ours` with a scheduler that stops trials for good, as `ray`'s does.
ours-joint: `ours` with post-processing drawn, as in `ray`.
ours-alone: `ours` without Ray: the same figures as with `concurrent=1`, for many seeds.
ray-alone: the same of `ray`: Ray Tune's own searcher and scheduler (`ray_alone.py`).
ray-nested-alone: the same of `ray-nested`.
ours-cost: `ours-alone` with `search.compare=cost`: rungs at equal arithmetic.
ours-tpe: `ours-alone` with `search.sampler=tpe`: points that Optuna's TPE draws.
ours-led: `ours-alone` with three warm starts that a tenth to a quarter of all trainings are better
    than, as a setting that worked for others.
ours-misled: `ours-alone` with three of the worst fifth.
ours-earlier: `ours-alone` with the three best trainings of `trainings.npz`, as `warm_start=RUN`
    takes them over from an earlier run with other choices and pages.
random: points drawn at random, each once, all trained to the end.
iepoch: twenty points drawn at random are trained for `grace` epochs, the best three of them to the
    end; then the next twenty (i-Epoch: Egele et al. 2024).
pasha: points drawn at random are promoted as in `ours`, up to a rung that rises while the order of
    trials does not settle; when there are no more, the best go on (PASHA: Bohdal et al. 2023).
optuna-hyperband: Optuna's TPE with its HyperbandPruner, as its documentation puts them together.
optuna-hyperband-joint: the same with post-processing drawn, as in `ray`.

All but the `joint` ones and `ray` report the cross-fitted score. Those from `ours-alone` on run
without Ray, one training after the other, as nothing that is counted needs it. Of a table whose
points were drawn from ranges the nearest one that is left stands for a proposal (`stand_in.py`).

The yardstick is the same for all. A search is over when the model that it would ship, the epoch
with the best score it was told, has an H-mean over all pages `within` 0.002 of the table's best
(any training, epoch and setting). Every epoch of every trial up to then is counted, in the order in
which the search hears of them. A search that trains `cap` epochs without getting there, or ends
before that, counts as `cap` and under "not reached". With `unit=seconds` an epoch counts by the
processor time that it took when it was recorded, in those of the mean epoch of the table: what is
called epochs is then time. Intervals are 95 % of a bootstrap over
seeds. With `concurrent=1` the same seed gives the same figures; `output` keeps those of every seed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from policies import Rules, chosen
from replay import (
    CURVE_EPOCHS,
    MARGIN,
    UNITS,
    Outcome,
    Ratio,
    Table,
    Yardstick,
    ratios,
    read_table,
    spread,
)
from replay_policies import ON_RAY, POLICIES
from timing import run

from detector.core.errors import InputError
from detector.core.files import write_text
from orchestrator.place.cluster import connected
from orchestrator.place.resources import Machine

DEFAULTS = {
    "table": str(Path(__file__).with_name("trainings.npz")),
    "policies": "ray,ours",
    "seeds": 20,
    "cap": 3000,
    "concurrent": 1,
    "grace": 1,
    "factor": 3,
    "unit": "epochs",
    "within": MARGIN,
    "output": None,
}
CORES = 2
BASELINES, OURS = ("ray", "ray-alone"), ("ours", "ours-alone")


def replay(name: str, table: Table, seed: int, *, cap: int, rules: Rules) -> Outcome:
    """One search by a policy of `POLICIES`; Ray must be running for one of `ON_RAY`."""
    yardstick, start = Yardstick(table.target, cap), time.perf_counter()
    POLICIES[name](table, yardstick, seed, rules)
    return Outcome(
        seed=seed,
        epochs=yardstick.spent,
        reached=yardstick.reached,
        counted=yardstick.spent if yardstick.reached else cap,
        curve=yardstick.curve(),
        seconds=round(time.perf_counter() - start, 1),
    )


def replay_all(
    names: Iterable[str], table: Table, seeds: int, *, cap: int, rules: Rules
) -> dict[str, list[Outcome]]:
    """Every policy with seeds 0, 1, …, on one Ray where one needs it; policies take turns."""
    found: dict[str, list[Outcome]] = {name: [] for name in names}
    cluster = connected(Machine(cpus=max(CORES, rules.concurrent), gpus=0))
    with cluster if found.keys() & ON_RAY.keys() else nullcontext():
        for seed in range(seeds):
            for name, outcomes in found.items():
                outcomes.append(replay(name, table, seed, cap=cap, rules=rules))
    return found


def counts_of(found: Mapping[str, Sequence[Outcome]]) -> dict[str, list[float]]:
    """The epochs of every seed by policy."""
    return {name: [o.counted for o in outcomes] for name, outcomes in found.items()}


def compared(found: Mapping[str, Sequence[Outcome]]) -> dict[str, dict[str, Ratio]]:
    """Epochs of every other policy over those of `ray` or `ray-alone`, where one was run."""
    counts = counts_of(found)
    base = next((counts[name] for name in BASELINES if name in counts), None)
    if base is None:
        return {}
    return {name: ratios(counts[name], base) for name in counts if name not in BASELINES}


def ours_over(found: Mapping[str, Sequence[Outcome]]) -> dict[str, dict[str, Ratio]]:
    """Epochs of `ours` or `ours-alone`, where one was run, over those of every other policy."""
    counts = counts_of(found)
    ours = next((counts[name] for name in OURS if name in counts), None)
    if ours is None:
        return {}
    return {name: ratios(ours, counts[name]) for name in counts if name not in OURS}


def tables(table: Table, found: Mapping[str, Sequence[Outcome]], cap: int) -> str:
    """The figures as Markdown: the table of trainings, epochs to reach, ratios, curves."""
    facts, compare = table.facts(), compared(found)
    lines = [
        f"{facts['configs']} trainings of {facts['epochs']} epochs, {facts['settings']} settings. "
        f"Best H-mean {facts['best']:.4f}; {facts['configs_within']} trainings and "
        f"{facts['pairs_within']:.2%} of the (training, setting) pairs come within "
        f"{table.margin:g}. "
        f"The best cross-fitted score of all ships {facts['crossfit_ships']:.4f}.",
        "",
        "| policy | seeds | epochs to reach: median | quartiles | least to most | not reached "
        "| of ray's: medians | of ray's: means |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, outcomes in found.items():
        low, lower, median, upper, high = spread([o.counted for o in outcomes])
        missed = sum(not o.reached for o in outcomes)
        ratio = compare.get(name)
        shares = [str(ratio[key]) if ratio else "" for key in ("medians", "means")]
        lines.append(
            f"| {name} | {len(outcomes)} | {at_least(median, cap)} | "
            f"{at_least(lower, cap)} to {at_least(upper, cap)} | "
            f"{at_least(low, cap)} to {at_least(high, cap)} | "
            f"{missed} | {' | '.join(shares)} |"
        )
    if over := ours_over(found):
        lines += ["", "| epochs of ours over those of | medians | means |", "|---|---|---|"]
        lines += [
            f"| {name} | {both['medians']} | {both['means']} |" for name, both in over.items()
        ]
    lines += ["", f"| H-mean after epochs | {' | '.join(map(str, CURVE_EPOCHS))} |"]
    lines.append("|---|" + "---|" * len(CURVE_EPOCHS))
    for name, outcomes in found.items():
        lines.append(f"| {name} | {' | '.join(f'{m:.4f}' for m in medians(outcomes))} |")
    return "\n".join(lines)


def at_least(epochs: float, cap: int) -> str:
    """A number of epochs; one at the cap is a lower bound."""
    return f"≥ {epochs:g}" if epochs >= cap else f"{round(epochs, 1):g}"


def medians(outcomes: Sequence[Outcome]) -> list[float]:
    """The median curve over seeds."""
    return np.median(np.array([o.curve for o in outcomes], float), axis=0).tolist()


def details(table: Table, found: Mapping[str, Sequence[Outcome]]) -> dict[str, Any]:
    """Everything that was measured, seed by seed, for a JSON file."""

    def plain(ratios: Mapping[str, Mapping[str, Ratio]]) -> dict[str, Any]:
        return {name: {key: asdict(r) for key, r in both.items()} for name, both in ratios.items()}

    return {
        "facts": table.facts(),
        "ratios": plain(compared(found)),
        "ours_over": plain(ours_over(found)),
        "curve_epochs": CURVE_EPOCHS,
        "outcomes": {name: [asdict(o) for o in outcomes] for name, outcomes in found.items()},
    }


def main(options: dict[str, Any]) -> None:
    names = chosen(options["policies"], POLICIES, factor=options["factor"])
    if options["unit"] not in UNITS:
        raise InputError(f"unit: must be one of {', '.join(UNITS)}, got {options['unit']!r}")
    if not 0 <= options["within"] < 1:
        raise InputError(f"within: must be an H-mean from 0 to below 1, got {options['within']:g}")
    table = replace(read_table(Path(options["table"]), options["unit"]), margin=options["within"])
    if options["grace"] > table.epochs:
        raise InputError(
            f"grace: must not exceed the table's {table.epochs} epochs, got {options['grace']}"
        )
    alone = [name for name in names if name not in ON_RAY]
    if alone and options["concurrent"] > 1:
        raise InputError(
            f"concurrent: {', '.join(alone)} trains one at a time, got {options['concurrent']}; "
            f"leave it at 1, or give policies out of {', '.join(ON_RAY)}"
        )
    rules = Rules(options["grace"], options["factor"], options["concurrent"])
    found = replay_all(names, table, options["seeds"], cap=options["cap"], rules=rules)
    print(tables(table, found, options["cap"]))
    if options["output"] is not None:
        text = json.dumps(details(table, found) | {"options": options}, indent=1)
        write_text(Path(options["output"]), text + "\n")


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
