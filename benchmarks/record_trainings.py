"""Train every configuration of a small space once, and keep what a search would have seen.

`python benchmarks/record_trainings.py [data=receipts] [output=trainings.npz] [folder=recorded]
[processes=2]` trains 40 detectors (`SPACE`, all combinations) for nine epochs on
the same 48 pages and scores each epoch on the same 20 others at 165 post-processing settings.
`bench_search.py` replays searches on the result, which takes seconds instead of days. Each training
stays in `folder`, so a recording that was stopped goes on where it was; `output` is written again
after each training, and holds those that are complete.

The file holds, for C trainings, E epochs and S settings:

configs: JSON of the C points, by dotted name, in the order of the arrays.
settings: JSON of the S post-processing settings.
hmeans: `(C, E, 2, S)` uint16, H-mean in units of 1/65535, the mean over either half of the pages
    (`detector.postprocess.sweep_scores.second_half`), as a cross-fit needs them.
seconds: `(C, E)` float32, one thread, all epochs so far, validation included.
about: JSON of what the trainings share.
"""

from __future__ import annotations

import io
import itertools
import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timing import run

from detector.config.cli import log
from detector.config.settings import TrainConfig, with_values
from detector.core.files import replacing
from detector.data.synthetic.receipts import synthesize
from detector.postprocess.sweep_scores import SweepScores, second_half
from detector.training.epoch_end import EpochReport
from detector.training.trainer import train

DEFAULTS = {
    "data": None,
    "output": "trainings.npz",
    "folder": "recorded",
    "processes": 2,
    "epochs": 9,
    "train_pages": 48,
    "val_pages": 20,
}

# What the search is about: a factor that matters much, one that matters a little, two that matter
# with others, as in a space whose answer is not known.
SPACE: dict[str, tuple[Any, ...]] = {
    "model.backbone": ("tf_efficientnet_lite0", "mobilenetv3_small_100"),
    "model.fusion": ("scale_channel_spatial", "none"),
    "optimizer.lr": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
    "loss.negative_ratio": (2.0, 5.0),
}
FIXED: dict[str, Any] = {
    "data.longest_side_px": 640,
    "augment.crop_px": 320,
    "augment.scale_min": 0.8,
    "augment.scale_max": 1.2,
    "model.neck_channels": 96,
    "train.batch_size": 4,
    "train.device": "cpu",
    "train.threads": 1,
    "postprocess.box_thresh": 0.5,
}
# The settings of post-processing that the table is about: every combination, which a replay needs.
TRIED: dict[str, tuple[Any, ...]] = {
    "thresh": (0.2, 0.3, 0.4),
    "unclip_ratio": (1.2, 1.4, 1.6, 1.8, 2.0),
    "box_thresh": tuple(i / 100 for i in range(30, 81, 5)),
}
LEVELS = 65535


def points() -> list[dict[str, Any]]:
    """Every combination of `SPACE`; those of a light backbone and a heavy one take turns."""
    reversed_keys = list(SPACE)[::-1]
    return [
        dict(sorted(zip(reversed_keys, values, strict=True)))
        for values in itertools.product(*(SPACE[key] for key in reversed_keys))
    ]


def record(point: dict[str, Any], config: TrainConfig, folder: Path) -> Path:
    """Train at a point, or go on with it; the file of its `hmeans` and `seconds`."""
    place = folder / "_".join(str(value) for value in point.values())
    done = place / "recorded.npz"
    if done.is_file():
        return done
    torch.set_num_threads(1)

    def keep(report: EpochReport) -> None:
        assert report.swept is not None
        values = {
            "hmeans": halves(report.swept),
            "seconds": np.float32(report.metrics["seconds"]),
        }
        _save(place / f"epoch-{report.epoch}.npz", values)

    train(config, place, report=keep, resume=True, log=lambda _: None)
    epochs = [np.load(place / f"epoch-{i}.npz") for i in range(1, config.train.epochs + 1)]
    _save(done, {key: np.stack([e[key] for e in epochs]) for key in ("hmeans", "seconds")})
    return done


def halves(swept: SweepScores) -> NDArray[np.uint16]:
    """`(2, S)` mean H-mean of either half of the pages, as levels; blank pages are left out."""
    hmeans, second = swept.page_scores[:, :, 2], second_half(len(swept.names))
    means = np.stack([np.nanmean(hmeans[:, half], axis=1) for half in (~second, second)])
    return np.rint(means * LEVELS).astype(np.uint16)


def gather(files: dict[int, Path], options: dict[str, Any], config: TrainConfig) -> None:
    """Write those of `files` that are complete, by the index of their point, to `output`."""
    from detector.postprocess.sweep import grid

    chosen = sorted(files)
    found = [np.load(files[i]) for i in chosen]
    settings = grid(config.postprocess, TRIED)
    about = {key: options[key] for key in ("epochs", "train_pages", "val_pages")}
    _save(
        Path(options["output"]),
        {
            "configs": np.array(json.dumps([points()[i] for i in chosen])),
            "settings": np.array(json.dumps([{k: getattr(s, k) for k in TRIED} for s in settings])),
            "about": np.array(json.dumps(about | FIXED)),
            "hmeans": np.stack([one["hmeans"] for one in found]),
            "seconds": np.stack([one["seconds"] for one in found]),
        },
    )


def _save(path: Path, arrays: dict[str, Any]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())


def given_or_drawn(data: str | None, folder: Path, *, images: int, val_images: int) -> Path:
    """The dataset's folder; without one, synthetic receipts are drawn below `folder`."""
    if data is not None:
        return Path(data).resolve()
    log("no data=FOLDER: training on synthetic receipts")
    root = folder / f"synthetic-receipts-{images}-{val_images}"
    return synthesize(root, images=images, val_images=val_images, seed=0, log=log)


def main(options: dict[str, Any]) -> None:
    folder = Path(options["folder"]).resolve()
    root = given_or_drawn(
        options["data"], folder, images=options["train_pages"], val_images=options["val_pages"]
    )
    tried: dict[str, Any] = {"sweep.shape": None, "sweep.unclip": None}
    tried |= {f"sweep.{key}": list(values) for key, values in TRIED.items()}
    fixed = (
        FIXED
        | tried
        | {
            "data.root": str(root),
            "data.cache": str(folder / "cache"),
            "data.train_pages": options["train_pages"],
            "data.val_pages": options["val_pages"],
            "train.epochs": options["epochs"],
        }
    )
    configs = [with_values(TrainConfig(), fixed | point) for point in points()]
    files: dict[int, Path] = {}
    # One training a process: each starts with the same allocator and no one else's threads.
    with ProcessPoolExecutor(
        options["processes"], mp_context=get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        jobs = zip(points(), configs, strict=True)
        futures = [pool.submit(partial(record, folder=folder), *job) for job in jobs]
        for index, future in enumerate(futures):
            files[index] = future.result()
            gather(files, options, configs[0])
            print(f"{len(files)} of {len(futures)}: {points()[index]}", flush=True)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    run(main, DEFAULTS, __doc__ or "")
