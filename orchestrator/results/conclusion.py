"""What a search writes and says when it is over or stopped: leaderboard, model, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detector.config.answer import answer
from detector.core.commands import command
from detector.core.errors import JobError
from orchestrator.events.kinds import Tell, best_written, untold
from orchestrator.results.leaderboard import CSV_NAME, JSON_NAME
from orchestrator.results.new_pages import in_words
from orchestrator.results.printed import print_leaderboard
from orchestrator.results.ranking import best, how_far, rows
from orchestrator.results.repeats import repeated
from orchestrator.results.write import BEST, write_results
from orchestrator.run.run import Run
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.records import TrialRecord, TrialState, at_rest


def conclude(run: Run, tell: Tell = untold) -> int:
    """Leaderboard, where everything lies, what to do next; JobError when all trials failed.

    `tell` hears of it when `best/` is written.
    """
    records, space, folder = at_rest(run.records()), run.space, run.folder
    top = best(records)
    if top is None or not top.hmean:
        next_steps = _why_nothing(space, folder)
    else:
        next_steps = _next_steps(space, folder, top, in_words(records))
    if repeats := repeated(run.study.trials):
        next_steps = "\n" + "\n".join(repeats) + "\n" + next_steps
    answer({"advice": next_steps.strip().splitlines()})
    finish(run, next_steps, tell)
    if top is None:
        reasons = {f"trial {r.trial}: {r.reason}" for r in records if r.state is TrialState.FAILED}
        raise JobError(
            "no trial has a score; whole errors are in "
            f"{folder}/trials/*/error.txt\n" + "\n".join(sorted(reasons))
        )
    print(next_steps)
    return 0


def why_nothing(epochs: int) -> tuple[str, str, str]:
    """What it may come from that no trial has found a word in at most so many epochs."""
    return (
        f"trainings are too short: at most {epochs} epochs here (budget.epochs)",
        "labels do not fit their pages",
        "thresholds are above what the maps reach (postprocess.box_thresh, postprocess.thresh)",
    )


def _why_nothing(space: SearchSpace, folder: Path) -> str:
    """Where everything lies, and what to look at when no trial has found a word."""
    look = command("detector.inspect", {"data.root": space.fixed["data.root"], "output": "review"})
    short, labels, thresholds = why_nothing(space.budget.epochs)
    return (
        _places(folder)
        + "\nnothing was learnt: every H-mean is 0, so there is no model to use. It may be that\n"
        f"- {short}\n- {labels}; to look at both:\n  {look}\n- {thresholds}"
    )


def _next_steps(space: SearchSpace, folder: Path, top: TrialRecord, expected: str) -> str:
    """Where everything lies, what is `expected` of the best model, and three commands for it."""
    root, best_model = Path(space.fixed["data.root"]), folder / "best"
    tune = {"data.root": root, "data.split": "train", "data.pages": 100, "write": True}
    predict = {"images": root / "images/val", "output": "predictions.json"}
    longer = {"output": folder / "longer", "train.epochs": space.budget.epochs * 3}
    steps: dict[str, dict[str, Any]] = {
        "tune_postprocess": {"checkpoint": best_model} | tune,
        "predict": {"checkpoint": best_model} | predict,
        "train": {"config": best_model / "config.yaml"} | longer,
    }
    commands = [f"  {command(f'detector.{name}', given)}" for name, given in steps.items()]
    named = f"{best_model}/ (trial {top.trial}, {how_far(top, space.budget.epochs)})"
    named += f"\n{'':13}{expected}"
    return _places(folder, named) + "\nnext:\n" + "\n".join(commands)


def _places(folder: Path, best_model: str | None = None) -> str:
    """A line for everything that a search leaves behind, the best model where there is one."""
    model = "" if best_model is None else f"best model   {best_model}\n"
    return (
        f"\nleaderboard  {folder}/leaderboard.csv\n"
        f"{model}"
        f"report       {folder}/report.html\n"
        f"curves       tensorboard --logdir {shlex.quote(str(folder))}\n"
    )


def finish(run: Run, below: str = "", tell: Tell = untold) -> None:
    """Write the results as they stand, and show as much as fits above the text `below`."""
    records = at_rest(run.records())
    if written := write_results(run.folder, records, run.parameters, run.trade_off):
        tell(best_written(written, run.folder / BEST))
    answer(results_of(run, records))
    print_leaderboard(records, run.parameters, published=run.space.published, below=below)


def results_of(run: Run, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """Where the run is, its leaderboard row for row, and its best trial with its weights.

    `weights` is null where no trial has kept any.
    """
    table, top = rows(records, run.parameters, run.trade_off), best(records)
    weights = run.folder / BEST
    return {
        "run": run.folder,
        "leaderboard": run.folder / JSON_NAME,
        "table": run.folder / CSV_NAME,
        "trials": table,
        "best": next((row for row in table if top and row["trial"] == top.trial), None),
        "weights": weights if weights.is_dir() else None,
        "go_on": run.to_go_on,
    }
