"""Whether the curve over parts of the pages foretells what twice the pages give.

`python benchmarks/bench_pages.py [data=receipts] [folder=page-parts] [start=lite0] [epochs=3]
[smallest=60] [doublings=3] [seeds=1] [minutes=…]` trains the same detector on parts of the training
pages, each twice the one before and the last of them all pages, as `python -m orchestrator.pages`
does: within each other, with the same number of steps. Then the first two or more sizes foretell
the next one, which is compared with what its training gave.

Every training stays in `folder`: what was stopped, or ended after `minutes`, goes on where it was.
`start=ppocr` begins with PP-OCRv6 small (`pip install -e '.[ppocr]'`), `lite0` with the published
weights of a backbone, and `light` is a small backbone from scratch, which needs pages the most.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record_trainings import given_or_drawn
from timing import run

from detector.config.cli import log
from detector.config.settings import TrainConfig, with_values
from detector.core.errors import JobError
from detector.core.files import write_text
from detector.training.epoch_end import EpochReport
from detector.training.trainer import train
from orchestrator.page_parts.curve import predict
from orchestrator.page_parts.parts import same_steps
from orchestrator.page_parts.scores import Scored, scored
from orchestrator.run.trial_data import validation_pages

DEFAULTS = {
    "data": None,
    "folder": "page-parts",
    "start": "lite0",
    "epochs": 3,
    "smallest": 60,
    "doublings": 3,
    "seeds": 1,
    "minutes": 10_000,
    "train_pages": 485,
    "val_pages": 69,
}
FIXED: dict[str, Any] = {
    "data.longest_side_px": 640,
    "augment.crop_px": 320,
    "augment.scale_min": 0.8,
    "augment.scale_max": 1.2,
    "train.batch_size": 4,
    "train.device": "cpu",
    "train.threads": 1,
    "train.sweep": False,  # scored once, in the end
    "sweep.choose": False,
}
STARTS: dict[str, dict[str, Any]] = {
    "lite0": {"model.backbone": "tf_efficientnet_lite0", "model.neck_channels": 96},
    "ppocr": {"train.init": "ppocrv6_small", "optimizer.lr": 2e-4},
    "light": {
        "model.backbone": "mobilenetv3_small_100",
        "model.neck_channels": 64,
        "optimizer.lr": 5e-3,
        "optimizer.backbone_lr_ratio": 1.0,
        "model.weights": "none",
    },
}


def result(config: TrainConfig, folder: Path, until: float) -> Scored:
    """Train, or go on, and score; what is scored is kept. JobError when the minutes are over."""
    kept = folder / "scored.json"
    if not kept.is_file():

        def look(report: EpochReport) -> None:
            log(f"{folder.name}: epoch {report.epoch}, H-mean {report.metrics['hmean']:.4f}")
            if time.monotonic() > until and not report.finished:
                raise JobError("minutes are over; the same command goes on where this ended")

        started = time.monotonic()
        train(config, folder, report=look, resume=True, log=lambda _: None)
        found = scored(folder / "checkpoint" / "best", validation_pages(config.data))
        write_text(kept, json.dumps(vars(found)))
        log(f"{folder.name}: {time.monotonic() - started:.0f} s")
    return Scored(**json.loads(kept.read_text(encoding="utf-8")))


def foretold(counts: Sequence[int], scores: Sequence[Scored]) -> list[str]:
    """A row of the table for each size but the first two, foretold from those before it."""
    names = [n for n in scores[0].page_hmeans if all(n in s.page_hmeans for s in scores)]
    hmeans = np.array([[score.page_hmeans[name] for name in names] for score in scores])
    rows = []
    for known in range(2, len(counts)):
        said = predict(counts[:known], hmeans[:known], at=counts[known])
        came = hmeans[known].mean()
        within = said.hmean_low <= came <= said.hmean_high
        rows.append(
            f"| {', '.join(map(str, counts[:known]))} | {counts[known]} | {said.gain:+.4f} "
            f"({said.gain_low:.4f} to {said.gain_high:.4f}) | {said.hmean:.4f} "
            f"({said.hmean_low:.4f} to {said.hmean_high:.4f}) | {came:.4f} | "
            f"{said.hmean - came:+.4f} | {'yes' if within else 'no'} |"
        )
    return rows


def main(options: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    until = time.monotonic() + 60 * options["minutes"]
    folder = Path(options["folder"]).resolve()
    most, val_pages = options["train_pages"], options["val_pages"]
    root = given_or_drawn(options["data"], folder, images=most, val_images=val_pages)
    own = {
        "data.root": str(root),
        "data.cache": str(folder / "cache"),
        "data.val_pages": val_pages,
        "train.epochs": options["epochs"],
    }
    whole = with_values(TrainConfig(), FIXED | STARTS[options["start"]] | own)
    counts = [*(options["smallest"] << step for step in range(options["doublings"])), most]
    rows = []
    for seed in range(options["seeds"]):
        scores = []
        for pages in counts:
            part = same_steps(whole, pages, most) | {"train.seed": seed}
            place = folder / f"{options['start']}-{options['epochs']}-{pages}-{seed}"
            scores.append(result(with_values(whole, part), place, until))
            print(f"seed {seed}, {pages} pages: H-mean {scores[-1].hmean:.4f}", flush=True)
        rows += foretold(counts, scores)
    print("\n| from pages | to | gain | foretold | came | off | within |\n" + "|---" * 7 + "|")
    print("\n".join(rows))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    run(main, DEFAULTS, __doc__ or "")
