"""Train every configuration of a plan once, and keep what a search would have seen.

`python benchmarks/record_trainings.py [plan=grid] [data=receipts] [output=trainings.npz]
[folder=recorded] [processes=2] [dry=true]` trains small detectors on the same pages, one thread
each, and scores each epoch on the same others at 165 post-processing settings. `bench_search.py`
replays searches on the result, which takes seconds instead of days. The plans
(`recorded_points.py`):

grid: 40 trainings of nine epochs, all combinations of a few values; 48 pages, 20 to validate.
drawn: 120 points from ranges, every sixth time one of them with a second seed, of twelve epochs;
    48 pages, 30 to validate, 60 held out.
tiny: three trainings that try the recorder itself.

A recording that was stopped, or killed, goes on after the last epoch of each training that has
begun. `output` is written again after each training and holds those that are complete; the first
ones of `drawn` fill its space as evenly as all do. Those that it holds already are not trained
again, so that a recording goes on on another machine, where only this file is. `dry=true` only
says what it will cost, by steps timed on two busy cores of a server. Receipts are drawn where no
`data` is given.

The file holds, for C trainings, E epochs, S settings, V validation and H held-out pages:

configs: JSON of the C points, by dotted name, in the order of the arrays.
seeds: `(C,)` uint8; a training with seed 1 has the point of another with seed 0.
ranges: JSON of the settings drawn from ranges, as a space file has them; empty for a grid.
settings: JSON of the S post-processing settings.
hmeans: `(C, E, 2, S)` uint16, H-mean in units of 1/65535, the mean over either half of the pages
    (`detector.postprocess.sweep_scores.second_half`), as a cross-fit needs them.
choices: `(C, E, 3)` uint16, the settings that all pages choose, their first half, their second.
scores: `(C, E)` float32, the cross-fitted H-mean that such a choice gives, by which epochs compare.
shipped: `(C, E)` uint8, the epoch with the best score so far, from 1.
pages: `(C, E, 3, V)` uint16, H-mean of each page at the three choices in units of 1/65534; 65535 is
    a blank page. Pages are in the order of their names.
heldout: `(C, E, 3, H)`, the same of the held-out pages, by the detector of the epoch `shipped` at
    the choices of that epoch.
failed: `(C,)` uint8, the epochs before one whose loss was not finite, E for none. After them scores
    are 0, and what ships stays.
seconds: `(C, E)` float32, processor time of all epochs so far, validation included, held-out pages
    not.
about: JSON of what the trainings share, names of pages included.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from record_one import ARRAYS, RECORDED, heldout_pages, record, save
from recorded_points import FIXED, PLANS, TRIED, Plan, Task
from timing import run

from detector.config.cli import log
from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.data.labels.annotations import read_split
from detector.data.synthetic.receipts import synthesize
from detector.postprocess.sweep import grid

DEFAULTS = {
    "plan": "tiny",
    "data": None,
    "output": "trainings.npz",
    "folder": "recorded",
    "processes": 2,
    "dry": None,
}
# Processor seconds of a step with four crops of 320 px, and of the map of a page at 640 px.
COSTS = {
    "tf_efficientnet_lite0": (0.80, 0.114),
    "mobilenetv3_small_100": (0.41, 0.057),
    "tf_efficientnet_lite1": (1.06, 0.150),
    "resnet10t": (1.10, 0.150),
}
SCORING = 0.08  # of a page at all settings
BEST = 0.6  # share of the epochs that are the best so far, whose held-out pages are scored


def settings_of(plan: Plan, root: Path, cache: Path) -> list[TrainConfig]:
    """The settings of each task."""
    shared = dict(plan.fixed) | {"sweep.shape": None, "sweep.unclip": None}
    shared |= {f"sweep.{key}": list(values) for key, values in TRIED.items()}
    shared |= {
        "data.root": str(root),
        "data.cache": str(cache),
        "data.train_pages": plan.train_pages,
        "data.val_pages": plan.val_pages,
        "train.epochs": plan.epochs,
    }
    return [
        with_values(TrainConfig(), shared | task.point | {"train.seed": task.seed})
        for task in plan.tasks
    ]


def place_of(folder: Path, plan: str, index: int, task: Task) -> Path:
    """The folder of a training."""
    return folder / plan / f"{index:03}-{task.point['model.backbone']}-seed{task.seed}"


def gather(
    files: Mapping[int, Path], plan: Plan, output: Path, pages: Mapping[str, Sequence[str]]
) -> None:
    """Write those of `files` that are complete, by the index of their task, to `output`."""
    chosen = sorted(files)
    tasks = [plan.tasks[i] for i in chosen]
    found = [np.load(files[i]) for i in chosen]
    settings = grid(with_values(TrainConfig(), dict(FIXED)).postprocess, TRIED)
    about = {"epochs": plan.epochs, "train_pages": plan.train_pages, "val_pages": plan.val_pages}
    texts = {
        "configs": [task.point for task in tasks],
        "ranges": dict(plan.ranges),
        "settings": [{key: getattr(setting, key) for key in TRIED} for setting in settings],
        "about": about | dict(plan.fixed) | {"pages": dict(pages)},
    }
    arrays = {key: np.stack([one[key] for one in found]) for key in (*ARRAYS, "failed")}
    arrays |= {"seeds": np.array([task.seed for task in tasks], np.uint8)}
    save(output, {key: np.array(json.dumps(text)) for key, text in texts.items()} | arrays)


def take_up(output: Path, name: str, folder: Path, pages: Mapping[str, Sequence[str]]) -> int:
    """Lay what `output` holds of a plan where it would have been recorded; how many trainings.

    InputError where it is of another plan or of other pages.
    """
    if not output.is_file():
        return 0
    plan = PLANS[name]
    with np.load(output) as file:
        held = dict(file)
    about, points = (json.loads(str(held[key])) for key in ("about", "configs"))
    seeds = held.get("seeds", np.zeros(len(points), np.uint8)).tolist()
    known = {_key(task.point, task.seed): i for i, task in enumerate(plan.tasks)}
    found = [known.get(_key(*each)) for each in zip(points, seeds, strict=True)]
    missing = {*ARRAYS, "failed"} - held.keys()
    places = [index for index in found if index is not None]
    if missing or len(places) < len(found) or about.get("pages") != dict(pages):
        raise InputError(
            f"output: {output} holds no trainings of plan={name} on these pages; give another file"
        )
    for row, index in enumerate(places):
        place = place_of(folder, name, index, plan.tasks[index])
        place.mkdir(parents=True, exist_ok=True)
        save(place / RECORDED, {key: held[key][row] for key in (*ARRAYS, "failed")})
    return len(places)


def _key(point: Mapping[str, Any], seed: int) -> str:
    return json.dumps([dict(point), seed], sort_keys=True)


def complete(folder: Path, plan: Plan, name: str) -> dict[int, Path]:
    """What has been recorded in `folder`, by the index of its task.

    Known before anything more is trained, so that the output never holds less than it did.
    """
    places = {i: place_of(folder, name, i, task) for i, task in enumerate(plan.tasks)}
    done = {i: place / RECORDED for i, place in places.items()}
    return {i: file for i, file in done.items() if file.is_file()}


def estimate(plan: Plan, processes: int) -> str:
    """What a plan costs, as a line."""
    total = 0.0
    for task in plan.tasks:
        step, page = COSTS.get(task.point["model.backbone"], COSTS["mobilenetv3_small_100"])
        at = {**plan.fixed, **task.point}
        page *= (at["data.longest_side_px"] / 640) ** 2
        maps = plan.val_pages + BEST * plan.heldout_pages
        steps = -(-plan.train_pages // at["train.batch_size"])
        total += plan.epochs * (steps * step + maps * page + plan.val_pages * SCORING)
    return (
        f"{len(plan.tasks)} trainings of {plan.epochs} epochs: about {total / 3600:.1f} hours of "
        f"one core, {total / 3600 / processes:.1f} of {processes}"
    )


def given_or_drawn(data: str | None, folder: Path, *, images: int, val_images: int) -> Path:
    """The dataset's folder; without one, synthetic receipts are drawn below `folder`."""
    if data is not None:
        return Path(data).resolve()
    log("no data=FOLDER: training on synthetic receipts")
    root = folder / f"synthetic-receipts-{images}-{val_images}"
    return synthesize(root, images=images, val_images=val_images, seed=0, log=log)


def main(options: dict[str, Any]) -> None:
    if options["plan"] not in PLANS:
        raise InputError(f"plan: must be one of {', '.join(PLANS)}, got {options['plan']!r}")
    if options["dry"] not in (None, "true"):
        raise InputError(f"dry: must be true or left out, got {options['dry']!r}")
    plan, processes = PLANS[options["plan"]], options["processes"]
    print(estimate(plan, processes), flush=True)
    if options["dry"]:
        return
    folder, output = Path(options["folder"]).resolve(), Path(options["output"])
    images = plan.train_pages + plan.heldout_pages
    root = given_or_drawn(options["data"], folder, images=images, val_images=plan.val_pages)
    configs = settings_of(plan, root, folder / "cache")
    unseen = heldout_pages(
        root, train=plan.train_pages, val=plan.val_pages, count=plan.heldout_pages
    )
    names = {
        "val": [page.name for page in read_split(root, "val", limit=plan.val_pages).pages],
        "heldout": [page.name for page in unseen],
    }
    if taken := take_up(output, options["plan"], folder, names):
        print(f"{output} holds {taken} of {len(plan.tasks)}", flush=True)
    if files := complete(folder, plan, options["plan"]):
        gather(files, plan, output, names)
    # One training a process: each starts with the same allocator and no one else's threads.
    with ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
        max_tasks_per_child=1,
    ) as pool:
        futures = {
            pool.submit(
                record, configs[index], place_of(folder, options["plan"], index, task), unseen
            ): index
            for index, task in enumerate(plan.tasks)
            if index not in files
        }
        try:
            for future in as_completed(futures):
                index = futures[future]
                files[index] = future.result()
                gather(files, plan, output, names)
                print(f"{len(files)} of {len(plan.tasks)}: {plan.tasks[index]}", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # or all others are trained first
            raise


def _end_with_parent() -> None:
    """End this process when the one that started it was killed: the next one takes its folder."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    run(main, DEFAULTS, __doc__ or "")
