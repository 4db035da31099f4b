"""What the parts of the check of a GPU share: sizes, receipts, a training step, a clock."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detector.config.settings import TrainConfig, with_values
from detector.core.device import autocast_dtype, searched_convolutions
from detector.core.files import write_text
from detector.data.crops.batch import Batch, PackedBatch, Unpack
from detector.data.labels.annotations import read_split
from detector.data.labels.pages import Page
from detector.inference.networks import new_model
from detector.training.begin import new_state, place, prepare
from detector.training.epoch import feed
from detector.training.loss import DBLoss
from detector.training.step import update
from detector.training.storage.state_file import TrainingState


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    pages, val_pages: receipts that are drawn where none are given.
    epoch_pages, epoch_val_pages: of an epoch that takes seconds on a GPU; receipts are repeated.
    parity_px: side of the crops that the CPU computes too.
    steps, window: of a loss curve, and over how many of them it is averaged.
    warm, timed, profiled: steps with loading. repeats: of a step on a batch that is there.
    epochs: of the trainings with and without validation.
    memory: backbone, crop and batch of the steps whose memory was predicted.
    checkpointed: backbone, crop and batch with gradient checkpointing.
    crops: that the training at the end sees.
    settings: of every training.
    """

    batch: int = 16
    pages: int = 160
    val_pages: int = 40
    page_px: int = 1024
    epoch_pages: int = 1280
    epoch_val_pages: int = 160
    parity_px: int = 320
    steps: int = 200
    window: int = 20
    warm: int = 60
    timed: int = 160
    profiled: int = 40
    repeats: int = 20
    epochs: int = 4
    memory: tuple[tuple[str, int, int], ...] = (
        ("resnet18", 640, 16),
        ("efficientnet_b0", 640, 16),
        ("convnext_tiny", 640, 8),
        ("hrnet_w18", 1024, 4),
    )
    checkpointed: tuple[str, int, int] = ("resnet50", 640, 16)
    crops: int = 12_000
    settings: Mapping[str, Any] = field(
        default_factory=lambda: {"model.backbone": "resnet18", "augment.crop_px": 640}
    )


FULL = Sizes()
_TINY = "mobilenetv3_small_050"
TINY = Sizes(
    batch=2,
    pages=4,
    val_pages=2,
    page_px=256,
    epoch_pages=8,
    epoch_val_pages=2,
    parity_px=64,
    steps=6,
    window=2,
    warm=2,
    timed=4,
    profiled=2,
    repeats=2,
    epochs=3,
    memory=((_TINY, 64, 2),),
    checkpointed=(_TINY, 64, 2),
    crops=8,
    settings={
        "model.backbone": _TINY,
        "model.neck_channels": 16,
        "augment.crop_px": 64,
        "data.longest_side_px": 256,
        "data.workers": 1,
        "train.threads": 1,
    },
)


@dataclass(frozen=True)
class Bench:
    """Where and with what everything is measured.

    data: receipts with the splits train and val. epoch: the same ones, repeated.
    work: a folder for trainings. weights: the setting `model.weights`.
    deadline: by `time.monotonic`, for all of it.
    """

    device: torch.device
    sizes: Sizes
    data: Path
    epoch: Path
    work: Path
    weights: str
    deadline: float

    def left_s(self) -> float:
        return self.deadline - time.monotonic()

    def config(self, values: Mapping[str, Any]) -> TrainConfig:
        """The training of these sizes, with dotted keys replaced."""
        own = {
            "data.root": self.data,
            "data.cache": self.work / "cache",
            "model.weights": self.weights,
            "train.batch_size": self.sizes.batch,
            "train.device": self.device.type,
        }
        return with_values(TrainConfig(), own | dict(self.sizes.settings) | dict(values))


@dataclass(frozen=True)
class Training:
    """A training before its first step: `step` takes one, on a batch as `unpack` makes it."""

    config: TrainConfig
    state: TrainingState
    loss: DBLoss
    amp: torch.dtype | None
    unpack: Unpack

    def step(self, batch: Batch) -> Tensor:
        """The `(4,)` losses, still on the device."""
        with searched_convolutions(self.config.augment.crop_px > 0):
            losses = update(
                self.state,
                batch,
                loss=self.loss,
                amp=self.amp,
                clip_norm=self.config.optimizer.clip_norm,
                log=silent,
            )
        self.state.step += 1
        assert losses is not None
        return losses


def begun(config: TrainConfig, device: torch.device) -> Training:
    """A training of the seed in `config`, so with the same weights on every device."""
    torch.manual_seed(config.train.seed)
    model = new_model(config).train()
    last = place(model, config, device)
    state = new_state(model, config, device)
    state.parts = config.train.accumulate
    loss = DBLoss(**config.loss.model_dump(), step_k=config.model.step_k)
    amp = autocast_dtype(config.train.amp, device)
    unpack = Unpack(model.mean, model.std, device, channels_last=last)
    return Training(config, state, loss, amp, unpack)


def batches(bench: Bench, count: int, values: Mapping[str, Any]) -> list[PackedBatch]:
    """The first batches of a training, in memory."""
    own: dict[str, Any] = {"data.root": bench.epoch, "train.epochs": 1000}
    if count == 1:
        own["data.workers"] = 0
    config = bench.config(own | dict(values))
    job, _ = prepare(config, bench.work / "batches", silent, last=None)
    with closing(feed(job, range(config.train.epochs))) as found:
        return [*islice(found, count)]


def seconds(device: torch.device, work: Callable[[], object]) -> float:
    """Of wall time for `work`, all that it gave the device to do included."""
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def steps(training: Training, packed: Sequence[PackedBatch], count: int) -> Callable[[], None]:
    """A function that takes `count` steps on these batches, again and again."""

    def take() -> None:
        for batch in islice(cycle(packed), count):
            training.step(training.unpack(batch))

    return take


def repeated(root: Path, folder: Path, counts: Mapping[str, int]) -> Path:
    """A dataset in `folder` with that many pages in each split: those of `root`, again and again.

    Each is a file of its own, so everything that is done for a page is done for each.
    """
    for split, count in counts.items():
        pages = read_split(root, split, limit=count).pages
        images = {}
        (folder / "images" / split).mkdir(parents=True)
        for index, page in enumerate(islice(cycle(pages), count)):
            name = f"{split}{index:05d}{page.path.suffix}"
            shutil.copyfile(page.path, folder / "images" / split / name)
            images[name] = _labels(page)
        text = json.dumps({"images": images}, ensure_ascii=False)
        (folder / "jsons").mkdir(exist_ok=True)
        write_text(folder / "jsons" / f"{split}.json", text)
    return folder


def silent(_message: str) -> None:
    """Tell nobody."""


def _labels(page: Page) -> dict[str, Any]:
    words = {
        word.id: {
            "points": word.points.tolist(),
            "transcription": word.text,
            "ignore": word.ignore,
        }
        for word in page.words
    }
    return {"img_w": page.width, "img_h": page.height, "words": words}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
