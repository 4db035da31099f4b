"""How much of a device's time a training uses, with a stand-in that takes time and no processor.

`python benchmarks/bench_loop.py [pages=404] [train=3232] [words=115] [side=1024] [crop=640]
[batch=16] [workers=2] [epochs=4] [backbone=resnet50]` draws pages, measures how many crops a second
the loader processes give, and then trains on a device of half that rate: a step sleeps for its time
and the maps of a validation, which are drawn too, for as long as a forward pass of their pixels
would take. All else is the training as it is, with a validation, its sweep and a checkpoint each
epoch.

Printed is the share of the device's time that is used, from the first step of the second epoch to
that of the last; and the same where an epoch ends before the next one begins, which is how most
trainers do it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
from bench_postprocess import word_map, word_outlines
from timing import run

from detector.config.settings import TrainConfig, with_values
from detector.data.crops.batch import PackedBatch
from detector.data.page.preprocess import Prepared
from detector.inference.detector import Detector
from detector.postprocess.maps import PageMap, quantize
from detector.training import epoch as epoch_module
from detector.training.begin import prepare
from detector.training.epoch import Job, feed
from detector.training.epoch_end import EpochEnds
from detector.training.storage.state_file import TrainingState
from detector.training.trainer import train

DEFAULTS = {
    "pages": 404,
    "train": 3232,
    "words": 115,
    "side": 1024,
    "crop": 640,
    "batch": 16,
    "workers": 2,
    "epochs": 4,
    "backbone": "resnet50",
}
DIFFERENT = 40  # pages that are drawn; others repeat them
BACKWARD = 2.0  # of a step's time, as a multiple of the forward pass's


def draw_pages(root: Path, options: dict[str, Any]) -> list[np.ndarray]:
    """Write a dataset in the native layout and return the probability maps of its pages."""
    side, maps, files, words = options["side"], [], [], []
    for seed in range(min(DIFFERENT, options["pages"])):
        outlines = word_outlines(options["words"], side, seed)
        image = np.random.default_rng(seed).integers(200, 256, (side, side, 3), np.uint8)
        for outline in outlines:
            cv2.fillPoly(image, [outline.astype(np.int32)], (60, 60, 60))
        maps.append(quantize(word_map(outlines, side, seed)))
        files.append(cv2.imencode(".jpg", image)[1].tobytes())
        words.append(
            {
                f"{i:04d}": {"points": outline.tolist(), "transcription": "letters"}
                for i, outline in enumerate(outlines)
            }
        )
    for split, count in (("train", options["train"]), ("val", options["pages"])):
        folder = root / "images" / split
        folder.mkdir(parents=True)
        table = {}
        for index in range(count):
            name, which = f"{index:05d}.jpg", index % len(maps)
            if index < len(maps):
                (folder / name).write_bytes(files[which])
            else:
                os.link(folder / f"{which:05d}.jpg", folder / name)
            table[name] = {"img_w": side, "img_h": side, "words": words[which]}
        (root / "jsons").mkdir(exist_ok=True)
        (root / "jsons" / f"{split}.json").write_text(json.dumps({"images": table}))
    return maps


class StandIn:
    """A device that takes `crop_s` for a crop in a step and `page_s` for a page's map."""

    def __init__(self, maps: Sequence[np.ndarray], crop_s: float, page_s: float) -> None:
        self.maps, self.crop_s, self.page_s = maps, crop_s, page_s
        self.used = 0.0
        self.epochs: list[tuple[float, float]] = []  # when each began, and what was used by then
        self._epoch = -1

    def step(self, _: Job, state: TrainingState, batch: PackedBatch) -> torch.Tensor:
        """In place of a step."""
        if state.epoch != self._epoch:
            self._epoch = state.epoch
            self.epochs.append((time.monotonic(), self.used))
            if not state.optimizer.state:  # so that a checkpoint is as large as it would be
                for parameter in state.model.parameters():
                    parameter.grad = torch.zeros_like(parameter)
                state.optimizer.step()
                state.optimizer.zero_grad()
        self._work(len(batch.images) * self.crop_s)
        return torch.ones(4)

    def maps_of(
        self, _: Detector, pages: Sequence[Prepared], names: Sequence[str]
    ) -> list[PageMap]:
        """In place of the network at a validation."""
        self._work(len(pages) * self.page_s)
        numbers = [int(Path(name).stem) for name in names]
        return [
            PageMap(name, self.maps[number % len(self.maps)], page.affine, page.size)
            for name, number, page in zip(names, numbers, pages, strict=True)
        ]

    def _work(self, seconds: float) -> None:
        self.used += seconds
        time.sleep(seconds)

    def share(self) -> float:
        """Of the time between the beginnings of the second epoch and of the last."""
        (start, before), (end, after) = self.epochs[1], self.epochs[-1]
        return (after - before) / (end - start)


def crops_a_second(config: TrainConfig, folder: Path) -> float:
    """What the loader processes give, from a filled cache."""
    job, _ = prepare(config, folder, lambda _: None, last=None)
    for index in range(min(DIFFERENT, len(job.samples))):
        job.samples.crop(0, index)
    started = time.monotonic()
    count = sum(len(batch.images) for batch in feed(job, range(1)))
    return count / (time.monotonic() - started)


def measured(config: TrainConfig, folder: Path, device: StandIn, *, beside: bool) -> float:
    """The share of its time that `device` works in a training."""
    begun = EpochEnds.begin

    def begin(self: EpochEnds, *arguments: Any) -> None:
        begun(self, *arguments)
        if not beside:
            self.finish()

    with (
        patch.object(epoch_module, "_step", device.step),
        patch.object(Detector, "maps_of", lambda *arguments: device.maps_of(*arguments)),
        patch("detector.training.epoch_end.latency_ms", lambda *_: 0.0),
        patch.object(EpochEnds, "begin", begin),
    ):
        train(config, folder, log=lambda _: None)
    return device.share()


def main(options: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root, folder = Path(temporary) / "data", Path(temporary)
        maps = draw_pages(root, options)
        config = with_values(
            TrainConfig(),
            {
                "data.root": str(root),
                "data.cache": str(folder / "cache"),
                "data.workers": options["workers"],
                "data.longest_side_px": options["side"],
                "augment.crop_px": options["crop"],
                "model.backbone": options["backbone"],
                "model.weights": "none",
                "train.batch_size": options["batch"],
                "train.epochs": options["epochs"],
                "train.device": "cpu",
            },
        )
        rate = crops_a_second(config, folder / "rate")
        crop_s = 2 / rate
        page_s = crop_s / (1 + BACKWARD) * (options["side"] / options["crop"]) ** 2
        print(
            f"{options['train']} crops of {options['crop']} px and {options['pages']} pages of "
            f"{options['words']} words an epoch, {options['workers']} loader processes"
        )
        print(f"the loader gives {rate:.0f} crops a second, the stand-in takes {1 / crop_s:.0f}")
        for name, beside in (("one after the other", False), ("beside the next epoch", True)):
            device = StandIn(maps, crop_s, page_s)
            share = measured(config, folder / name.replace(" ", "-"), device, beside=beside)
            print(f"an epoch ends {name:22} the device is used for {share:.2f} of the time")


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
