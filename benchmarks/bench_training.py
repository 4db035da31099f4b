"""One training step against the same network trained the way of the contest entry.

`python benchmarks/bench_training.py [backbone=resnet18] [neck_channels=256] [crop=640] [batch=4]
[rounds=3] [page_px=1280]` prints the fastest and the median of both, for the step on a batch that
is there already and for loading four drawn receipts and the step, and the ratio. Both start from
the same weights, see the same batches in the step alone and use the same optimizer; the losses of
these steps are compared. Each has a process of its own, as an allocator cannot be put back, and
they take turns, so that one always rests while the other is timed; torch's own threads on both.
Processor time adds up all threads, so it says less about what else the machine does.

Ours is `detector.training.step.update` and `TrainingPages` with a filled `data.cache`, as the
trainer sets them up on a CPU; gradient clipping and the average of the weights are off, for the
alternative has neither. The alternative is written from a description of the contest's entry,
and no slower than it:

step: NCHW tensors, torch's defaults, the memory of the C library's defaults. Probabilities from
    the network, BCE on them, the step as a reciprocal of an exponential, the hardest negatives
    by one `topk` over all pixels of an image, how many read back from the tensors; the four
    losses read back and written to TensorBoard in every step. Masks and the number of negatives
    are ours, since the entry's own would be another loss and the results could not be compared.
loading: decode, resize to `crop`, pad, flip by chance, normalise, and the label maps word by
    word (`bench_targets.loop`). No rotation, perspective or colours, which ours has: less work.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from bench_pipeline import MEAN, STD, loop_or_nothing, samples
from PIL import Image, ImageOps
from timing import run
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from detector.config.settings import TrainConfig
from detector.core.device import keep_freed_memory, suits_channels_last
from detector.data.crops.batch import Batch, Unpack, collate
from detector.data.crops.dataset import TrainingPages
from detector.data.labels.annotations import read_split
from detector.data.labels.pages import Page
from detector.data.synthetic.receipts import synthesize
from detector.model.dbnet import DBNet, build_model
from detector.training.loss import DBLoss
from detector.training.optimizer import build_optimizer, parameter_groups
from detector.training.step import update
from detector.training.storage.state_file import TrainingState

DEFAULTS = {
    "backbone": "resnet18",
    "neck_channels": 256,
    "crop": 640,
    "batch": 4,
    "rounds": 3,
    "page_px": 1280,
}
CONFIG = TrainConfig()
CLOCKS = {"elapsed": perf_counter, "processor": process_time}
Answer = tuple[list[float], list[float]]  # seconds by each clock, losses
Ask = Callable[[str, int], Answer]  # of a task in a turn
TASKS = ("step", "loading and step")
TOLERANCE = 1e-3  # of a loss: float32 sums in another order, over a few steps


def new_model(backbone: str, neck_channels: int) -> tuple[DBNet, torch.optim.Optimizer]:
    """The default network with weights fixed by a seed, and its optimizer."""
    torch.manual_seed(0)
    keys = ("neck", "fusion", "upsample")
    chosen = {k: getattr(CONFIG.model, k) for k in keys}
    model = build_model(backbone=backbone, neck_channels=neck_channels, **chosen)
    settings = CONFIG.optimizer
    groups = parameter_groups(
        model.train(),
        backbone=model.backbone,
        lr=1e-4,  # small, as the losses of a few steps are compared
        backbone_lr_ratio=settings.backbone_lr_ratio,
        weight_decay=settings.weight_decay,
    )
    return model, build_optimizer(groups, name="adamw", momentum=0.0)


class Ours:
    """The step and the loading of this project."""

    def __init__(self, data: TrainingPages, backbone: str, neck_channels: int) -> None:
        keep_freed_memory()
        model, optimizer = new_model(backbone, neck_channels)
        cpu = torch.device("cpu")
        last = suits_channels_last(model.backbone, cpu)
        if last:
            model.to(memory_format=torch.channels_last)
        self.unpack = Unpack(MEAN, STD, cpu, channels_last=last)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.state = TrainingState(model, None, optimizer, scaler)
        self.loss = DBLoss(**CONFIG.loss.model_dump(), step_k=CONFIG.model.step_k)
        self.data = data

    def load(self, turn: int, size: int) -> Batch:
        return self.unpack(collate([self.data[turn, i] for i in range(size)]))

    def step(self, batch: Batch) -> list[float]:
        losses = update(self.state, batch, loss=self.loss, amp=None, clip_norm=0, log=print)
        return [] if losses is None else losses.tolist()


class Contest:
    """The step and the loading of the contest entry."""

    def __init__(
        self, data: TrainingPages, folder: Path, backbone: str, neck_channels: int
    ) -> None:
        self.model, self.optimizer = new_model(backbone, neck_channels)
        self.pages, self.side = data.pages, data.augment.crop_px
        self.writer, self.count = SummaryWriter(str(folder)), 0

    def load(self, turn: int, size: int) -> Batch:
        rng = np.random.default_rng(turn)
        loaded = [letterboxed(page, self.side, rng) for page in self.pages[:size]]
        images, *maps = (torch.stack(column) for column in zip(*loaded, strict=True))
        kernel, threshold, band = (m[:, None] for m in maps)
        return Batch(images, kernel, torch.ones_like(kernel), threshold, band)

    def step(self, batch: Batch) -> list[float]:
        maps = self.model(batch.images)
        assert maps.threshold is not None
        found = contest_losses(
            torch.sigmoid(maps.probability), torch.sigmoid(maps.threshold), batch
        )
        self.optimizer.zero_grad()
        found[0].backward()
        self.optimizer.step()
        losses = [value.item() for value in found]
        for name, value in zip(
            ("total", "probability", "threshold", "binary"), losses, strict=True
        ):
            self.writer.add_scalar(name, value, self.count)
        self.count += 1
        return losses


def contest_losses(probability: Tensor, threshold: Tensor, batch: Batch) -> list[Tensor]:
    """Total, BCE, L1 and dice from probabilities, in the textbook's form."""
    settings, kernel, mask = CONFIG.loss, batch.shrink, batch.shrink_mask
    pixels = F.binary_cross_entropy(probability, kernel, reduction="none")
    total, count = probability.new_zeros(()), 0
    for values, text, wanted in zip(pixels, kernel, mask, strict=True):
        positive, negative = text * wanted, (1 - text) * wanted
        positives = int(positive.sum().item())
        most = max(int(settings.negative_ratio * positives), settings.min_negatives)
        keep = min(int(negative.sum().item()), most)
        hardest, _ = torch.topk((values * negative).view(-1), keep)
        total = total + (values * positive).sum() + hardest.sum()
        count += positives + keep
    bce = total / max(count, 1)
    band = batch.threshold_mask
    l1 = ((threshold - batch.threshold).abs() * band).sum() / band.sum().clamp(min=1)
    step = torch.reciprocal(1 + torch.exp(-CONFIG.model.step_k * (probability - threshold)))
    overlap = (step * kernel * mask).sum()
    dice = 1 - 2 * overlap / ((step * mask).sum() + (kernel * mask).sum()).clamp(min=1)
    weighted = settings.probability_weight * bce + settings.threshold_weight * l1
    return [weighted + settings.binary_weight * dice, bce, l1, dice]


def letterboxed(page: Page, side: int, rng: np.random.Generator) -> list[Tensor]:
    """Image `(3, side, side)` and kernel, threshold and band `(side, side)` of a whole page."""
    image = np.array(ImageOps.exif_transpose(Image.open(page.path)).convert("RGB"))
    scale = side / max(image.shape[:2])
    image = cv2.resize(image, None, fx=scale, fy=scale)[:side, :side]
    down, right = side - image.shape[0], side - image.shape[1]
    image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_CONSTANT)
    words = [word.points.astype(np.float64) * scale for word in page.words]
    if rng.random() < 0.5:
        image = image[:, ::-1]
        words = [np.array([side - 1, 0]) + word * [-1, 1] for word in words]
    mean, std = (
        255 * np.array(v, np.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    scaled = np.ascontiguousarray(((image.astype(np.float32) - mean) / std).transpose(2, 0, 1))
    return [torch.from_numpy(m) for m in (scaled, *loop_or_nothing(words, side))]


def serve(wire: Connection, mine: bool, options: dict[str, Any], root: Path) -> None:
    """Do the tasks that arrive, `(task, turn)`, and answer with seconds and losses."""
    pages = read_split(root / "receipts", "train", limit=options["batch"]).pages
    data = samples(pages, options["page_px"], options["crop"], root / "cache")
    fixed = Unpack(MEAN, STD, torch.device("cpu"))(
        collate([data[0, i] for i in range(options["batch"])])
    )
    network = options["backbone"], options["neck_channels"]
    trainer: Ours | Contest = (
        Ours(data, *network) if mine else Contest(data, root / "events", *network)
    )
    while (order := wire.recv()) is not None:
        task, turn = order
        start = [clock() for clock in CLOCKS.values()]
        batch = fixed if task == TASKS[0] else trainer.load(turn, options["batch"])
        losses = trainer.step(batch)
        end = [clock() for clock in CLOCKS.values()]
        wire.send(([b - a for a, b in zip(start, end, strict=True)], losses))


def main(options: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        synthesize(
            root / "receipts",
            images=options["batch"],
            val_images=0,
            seed=0,
            longest_side_px=options["page_px"],
        )
        context, wires, processes = get_context("spawn"), [], []
        for mine in (False, True):
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(there, mine, options, root), daemon=True)
            process.start()
            there.close()
            wires.append(here)
            processes.append(process)
        report([asker(wire) for wire in wires], options)
        for wire, process in zip(wires, processes, strict=True):
            wire.send(None)
            process.join()


def asker(wire: Connection) -> Ask:
    def ask(task: str, turn: int) -> Answer:
        wire.send((task, turn))
        return wire.recv()

    return ask


def report(sides: Sequence[Ask], options: dict[str, Any]) -> None:
    """Run every task `rounds` times in turns, after one to warm up; print times and losses."""
    print(
        f"{options['backbone']}, {options['batch']} crops of {options['crop']} px, "
        f"{torch.get_num_threads()} threads, {options['rounds']} rounds in turns"
    )
    print(f"{'seconds':32} {'contest: best':>14} {'median':>7} {'ours: best':>11} {'median':>7}")
    gaps = []
    for task in TASKS:
        results = [[ask(task, turn) for ask in sides] for turn in range(options["rounds"] + 1)]
        for k, clock in enumerate(CLOCKS):
            seconds = [[done[0][k] for done in side[1:]] for side in zip(*results, strict=True)]
            (best, middle), (our_best, our_middle) = [(min(t), median(t)) for t in seconds]
            print(
                f"{task + ', ' + clock:32} {best:14.2f} {middle:7.2f} "
                f"{our_best:11.2f} {our_middle:7.2f}   ratio of the best {best / our_best:.2f}x, "
                f"of the medians {middle / our_middle:.2f}x"
            )
        if task == TASKS[0]:
            gaps = [gap(*(losses for _, losses in turn)) for turn in results]
    verdict = "agree" if max(gaps) < TOLERANCE else "DISAGREE"
    print(
        f"losses of {len(gaps)} steps on the same batch {verdict}: "
        f"largest relative difference {max(gaps):.1e}"
    )


def gap(one: list[float], other: list[float]) -> float:
    """The largest relative difference of the losses of a step."""
    return max(abs(a - b) / max(abs(b), 1e-6) for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
