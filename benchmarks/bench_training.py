"""One training step against the same step the way of others: a contest entry's, or docTR's.

`python benchmarks/bench_training.py [backbone=resnet18] [neck_channels=256] [crop=640] [batch=4]
[rounds=3] [page_px=1280] [peer=doctr]` prints the fastest and the median of both, for the step on a
batch that is there already and for loading the drawn receipts and the step, and the ratio. Each has
a process of its own, as an allocator cannot be put back, and they take turns, so that one always
rests while the other is timed; torch's own threads on both, and pages are loaded by the process
that trains. Processor time adds up all threads, so it says less about what else the machine does.

Ours is `detector.training.step.update` and `TrainingPages` with a filled `data.cache`, as the
trainer sets them up on a CPU.

contest, the default: the same network as ours from the same weights, the same batches in the step
    alone, the same optimizer (`peer_contest.py`). The losses of these steps are compared. Gradient
    clipping and the average of the weights are off, for the alternative has neither.
doctr: docTR's own network with that backbone, its label maps, loss and optimizer
    (`peer_doctr.py`; resnet34, resnet50 or mobilenetv3_large_100), on the same pages. Losses cannot
    be compared; weights and arithmetic of both networks are printed. Ours clips gradients and keeps
    the average, as by default. docTR is installed by `pip install -e '.[peers]'`.
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

import peer_doctr
import torch
from bench_pipeline import MEAN, STD, samples
from peer_contest import CONFIG, Contest
from timing import run
from torch.utils.flop_counter import FlopCounterMode

from detector.core.device import keep_freed_memory, suits_channels_last
from detector.core.errors import InputError
from detector.data.crops.batch import Batch, Unpack, collate
from detector.data.crops.dataset import TrainingPages
from detector.data.labels.annotations import read_split
from detector.data.synthetic.receipts import synthesize
from detector.model.dbnet import DBNet, build_model
from detector.training.loss import DBLoss
from detector.training.optimizer import Average, build_optimizer, parameter_groups
from detector.training.step import update
from detector.training.storage.state_file import TrainingState

DEFAULTS = {
    "backbone": "resnet18",
    "neck_channels": 256,
    "crop": 640,
    "batch": 4,
    "rounds": 3,
    "page_px": 1280,
    "peer": None,
}
CLOCKS = {"elapsed": perf_counter, "processor": process_time}
Answer = tuple[list[float], list[float]]  # seconds by each clock, losses
Ask = Callable[[str, int], Answer]  # of a task in a turn
Trainer = Any  # one with a `model`, `forward` of it, a batch `held`, `load` and `step`
TASKS = ("step", "loading and step")
TOLERANCE = 1e-3  # of a loss: float32 sums in another order, over a few steps
OURS, CONTEST, DOCTR = "ours", "contest", "doctr"


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
    """The step and the loading of this project; `whole` with all that a step has by default."""

    def __init__(
        self, data: TrainingPages, held: Batch, backbone: str, neck_channels: int, *, whole: bool
    ) -> None:
        keep_freed_memory()
        model, optimizer = new_model(backbone, neck_channels)
        cpu = torch.device("cpu")
        last = suits_channels_last(model.backbone, cpu)
        if last:
            model.to(memory_format=torch.channels_last)
        self.unpack = Unpack(MEAN, STD, cpu, channels_last=last)
        settings = CONFIG.optimizer
        average = Average(model, decay=settings.ema_decay, use_warmup=True) if whole else None
        self.clip_norm = settings.clip_norm if whole else 0.0
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.state = TrainingState(model, average, optimizer, scaler)
        self.loss = DBLoss(**CONFIG.loss.model_dump(), step_k=CONFIG.model.step_k)
        self.data, self.held = data, held
        self.model = self.forward = model

    def load(self, turn: int, size: int) -> Batch:
        return self.unpack(collate([self.data[turn, i] for i in range(size)]))

    def step(self, batch: Batch) -> list[float]:
        losses = update(
            self.state, batch, loss=self.loss, amp=None, clip_norm=self.clip_norm, log=print
        )
        self.state.step += 1
        return [] if losses is None else losses.tolist()


def made(name: str, options: dict[str, Any], root: Path) -> Trainer:
    """The trainer of this name, with the pages of `root`."""
    count, backbone, neck_channels = (options[k] for k in ("batch", "backbone", "neck_channels"))
    pages = read_split(root / "receipts", "train", limit=count).pages
    if name == DOCTR:
        return peer_doctr.Doctr(backbone, pages, options["crop"], root / DOCTR)
    data = samples(pages, options["page_px"], options["crop"], root / "cache")
    held = Unpack(MEAN, STD, torch.device("cpu"))(collate([data[0, i] for i in range(count)]))
    if name == CONTEST:
        return Contest(*new_model(backbone, neck_channels), held, data, root / "events")
    return Ours(data, held, backbone, neck_channels, whole=options["peer"] == DOCTR)


def size_of(trainer: Trainer, crop: int) -> str:
    """Weights of a network, and its arithmetic for a crop: a multiplication and an addition are 2.

    Counted on a way forwards as in training, both maps included.
    """
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        trainer.forward(torch.zeros(1, 3, crop, crop))
    weights = sum(p.numel() for p in trainer.model.parameters())
    return (
        f"{weights / 1e6:.1f} million weights, {counted.get_total_flops() / 1e9:.0f} GFLOP a crop"
    )


def serve(wire: Connection, name: str, options: dict[str, Any], root: Path) -> None:
    """Say how large the network is, then do the tasks that arrive, `(task, turn)`.

    Answers with seconds and losses.
    """
    trainer = made(name, options, root)
    wire.send(size_of(trainer, options["crop"]))
    while (order := wire.recv()) is not None:
        task, turn = order
        start = [clock() for clock in CLOCKS.values()]
        batch = trainer.held if task == TASKS[0] else trainer.load(turn, options["batch"])
        losses = trainer.step(batch)
        end = [clock() for clock in CLOCKS.values()]
        wire.send(([b - a for a, b in zip(start, end, strict=True)], losses))


def main(options: dict[str, Any]) -> None:
    peer = options["peer"] or CONTEST
    if peer not in (CONTEST, DOCTR):
        raise InputError(f"peer: must be {CONTEST} or {DOCTR}, got {peer!r}")
    if peer == DOCTR:
        peer_doctr.require(options["backbone"])
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
        for name in (OURS, peer):
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(there, name, options, root), daemon=True)
            process.start()
            there.close()
            wires.append(here)
            processes.append(process)
        for name, wire in zip((OURS, peer), wires, strict=True):
            print(f"{name}: {wire.recv()}")
        report([asker(wire) for wire in reversed(wires)], peer, options)
        for wire, process in zip(wires, processes, strict=True):
            wire.send(None)
            process.join()


def asker(wire: Connection) -> Ask:
    def ask(task: str, turn: int) -> Answer:
        wire.send((task, turn))
        return wire.recv()

    return ask


def report(sides: Sequence[Ask], peer: str, options: dict[str, Any]) -> None:
    """Run every task `rounds` times in turns, after one to warm up; print times and losses."""
    print(
        f"{options['backbone']}, {options['batch']} crops of {options['crop']} px, "
        f"{torch.get_num_threads()} threads, {options['rounds']} rounds in turns"
    )
    title = f"{peer}: best"
    print(f"{'seconds':32} {title:>14} {'median':>7} {'ours: best':>11} {'median':>7}")
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
        if task == TASKS[0] and peer == CONTEST:
            compare([gap(*(losses for _, losses in turn)) for turn in results])


def compare(gaps: Sequence[float]) -> None:
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
