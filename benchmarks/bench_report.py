"""What does the page of a run cost, to write and to open?

`python benchmarks/bench_report.py [trials=500] [epochs=30] [pages=100] [rounds=3]` makes a study of
`trials` trials with the learning curves and page scores of a real search, and measures the seconds
to gather and write `report.html`, its size, and, where Chromium is installed, the seconds until it
is loaded and shown. Beside it stand Optuna's own figures of the same study, written as its users
write them: `optuna.visualization.plot_*(study).write_html(file)`, each with its copy of plotly.js.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from chromium import Browser, chromium, find_chromium
from optuna.trial import TrialState, create_trial
from timing import best_times, run

from orchestrator.config.settings import SearchConfig
from orchestrator.report_page.write import write_report
from orchestrator.results.write import write_results
from orchestrator.run.as_records import BEST, FOLDER, LATEST, REASON, trial_id
from orchestrator.run.run import Run
from orchestrator.run.study import open_study
from orchestrator.space.search_space import SearchSpace, load_space
from orchestrator.store.storage import storage_url

DEFAULTS = {"trials": 500, "epochs": 30, "pages": 100, "rounds": 3}
GRACE = 3
SPACE = """\
description: a space like those of real searches
fixed: {{data.root: receipts, sweep.choose: true}}
parameters:
  model.backbone: {{choice: [resnet18, resnet50, convnext_tiny, tf_efficientnet_lite0]}}
  model.fusion: {{choice: [none, scale_spatial, scale_channel_spatial]}}
  optimizer.lr: {{log_uniform: [2.0e-4, 8.0e-3]}}
  loss.negative_ratio: {{uniform: [1.0, 8.0]}}
  loss.probability_weight: {{uniform: [1.0, 10.0]}}
  loss.threshold_weight: {{uniform: [5.0, 15.0]}}
  augment.crop_px: {{int: [320, 640], step: 32}}
budget: {{trials: {trials}, epochs: {epochs}, grace_epochs: 3, reduction_factor: 3}}
"""
SIZES = {"resnet18": 12.3, "resnet50": 25.6, "convnext_tiny": 29.1, "tf_efficientnet_lite0": 3.2}
FIGURES = ("optimization_history", "intermediate_values", "param_importances", "slice")


def made_run(folder: Path, *, trials: int, epochs: int, pages: int) -> Run:
    """A run folder with a study like that of a search with halving; draws are always the same."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "space.yaml").write_text(SPACE.format(trials=trials, epochs=epochs))
    space = load_space(str(folder / "space.yaml"), gpu=True)
    study = open_study(storage_url(folder, None), folder.name, resume=False)
    rng = np.random.default_rng(0)
    hardness = rng.beta(2, 6, pages)  # hard pages are hard for all
    for number in range(trials):
        study.add(_trial(rng, space, hardness, number, epochs))
    config = SearchConfig(space=str(folder / "space.yaml"), name=folder.name)
    return Run(folder, config, space, study)


def _trial(
    rng: np.random.Generator, space: SearchSpace, hardness: Any, number: int, epochs: int
) -> optuna.trial.FrozenTrial:
    sampler = optuna.samplers.RandomSampler(seed=number)
    one = optuna.create_study(sampler=sampler)
    asked = one.ask()
    params = space.suggest(asked)
    quality = 0.97 - 0.02 * abs(np.log10(params["optimizer.lr"]) + 2.7)
    quality -= 0.004 * abs(params["loss.negative_ratio"] - 4) + rng.gamma(1.0, 0.01)
    quality += 0.006 * np.log10(SIZES[params["model.backbone"]])
    fails = rng.random() < 0.02
    reached = _reached(quality, epochs) if not fails else int(rng.integers(0, 2))
    curve = quality * (1 - np.exp(-np.arange(1, reached + 1) / 2.5))
    curve = np.maximum.accumulate(curve + rng.normal(0, 0.002, reached)).clip(0, 1)
    attributes: dict[str, Any] = {FOLDER: f"{trial_id(number)}_made"}
    if reached:
        scores = curve[-1] + 0.2 * (hardness.mean() - hardness) + rng.normal(0, 0.01, len(hardness))
        scores = scores.clip(0, 1).tolist()
        attributes |= _attributes(params, float(np.mean(scores)), scores, reached)
    if fails:
        attributes[REASON] = "out of memory: the GPU has no room for <crop_px> & batch"
    state = TrialState.FAIL if fails else TrialState.PRUNED
    state = TrialState.COMPLETE if reached == epochs else state
    return create_trial(
        state=state,
        value=attributes["latest"]["best_hmean"] if state is TrialState.COMPLETE else None,
        params=params,
        distributions=asked.distributions,
        intermediate_values={i: float(value) for i, value in enumerate(curve, 1)},
        user_attrs=attributes,
    )


def _reached(quality: float, epochs: int) -> int:
    for epoch, needed in ((GRACE, 0.945), (3 * GRACE, 0.955)):
        if quality < needed:
            return min(epoch, epochs)
    return epochs


def _attributes(
    params: dict[str, Any], hmean: float, scores: list[float], epoch: int
) -> dict[str, Any]:
    latest = {
        "epoch": epoch,
        "best_epoch": epoch,
        "best_hmean": hmean,
        "best_precision": hmean + 0.003,
        "best_recall": hmean - 0.003,
        "best_iou_hmean": hmean - 0.06,
        "best_hmean_pooled": hmean + 0.001,
        "best_tuned_hmean": hmean + 0.002,
        "best_crossfit_hmean": hmean,
        "best_tuned_box_thresh": 0.45,
        "seconds": 61.0 * epoch,
        "params_m": SIZES[params["model.backbone"]],
        "latency_ms": 20 + 4 * SIZES[params["model.backbone"]],
    }
    return {LATEST: latest, BEST: {"epoch": epoch, "hmeans": scores}}


def main(options: dict[str, Any]) -> None:
    """Print what the page and Optuna's figures take."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        sizes = {key: options[key] for key in ("trials", "epochs", "pages")}
        made = made_run(folder, **sizes)
        study = made.study.as_optuna()

        def ours() -> None:
            write_report(made, over=False, pages=False)

        def theirs() -> None:
            for name in FIGURES:
                draw = getattr(optuna.visualization, f"plot_{name}")
                draw(study).write_html(folder / f"{name}.html")

        started = time.perf_counter()
        ours()
        print(f"{options['trials']} trials of up to {options['epochs']} epochs")
        print(f"report.html, first time      {time.perf_counter() - started:6.2f} s to write")
        started = time.perf_counter()
        write_results(folder, made.records(), made.parameters)
        print(f"leaderboard, after it        {time.perf_counter() - started:6.2f} s to write")
        seconds = best_times([ours, theirs], options["rounds"])
        files = [[folder / "report.html"], [folder / f"{name}.html" for name in FIGURES]]
        opened = _opened(Path(temporary) / "profile", files, options["rounds"])
        names = ("report.html", f"Optuna's {len(FIGURES)} figures")
        for name, wrote, paths, took in zip(names, seconds, files, opened, strict=True):
            size = sum(path.stat().st_size for path in paths) / 1e6
            shown = "no Chromium" if took is None else f"{took:6.2f} s to open"
            print(f"{name:28} {wrote:6.2f} s to write  {size:5.1f} MB  {shown}")


def _opened(profile: Path, pages: list[list[Path]], rounds: int) -> list[float | None]:
    """Seconds to open each list of pages, one after the other; None without Chromium."""
    if find_chromium() is None:
        return [None] * len(pages)
    with chromium(profile) as browser:
        browser.open(pages[0][0])  # a browser's first page is slower, whatever it is

        return list(best_times([partial(_show, browser, paths) for paths in pages], rounds))


def _show(browser: Browser, paths: list[Path]) -> None:
    """Open pages one after the other, and wait until two frames of each were painted."""
    for path in paths:
        browser.open(path)
        browser.run("new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))")


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
