"""What the processes of the tests do. Spawned processes import it, so it holds no test."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from detector.core.errors import InputError
from detector.data.crops.batch import Batch
from detector.data.labels.annotations import read_split
from detector.inference.detector import load_detector
from detector.model.dbnet import Maps
from detector.postprocess.sweep import QUICK_GRID
from detector.training.distributed.network import share_statistics
from detector.training.distributed.peers import Peers
from detector.training.loss import DBLoss
from detector.training.step import update
from detector.training.storage.state_file import TrainingState
from detector.training.validation.figures import Validated, validated
from detector.training.validation.processes import PageScorer, ScoringProcesses
from detector.training.validation.validate import begin, settings_to_score

LOSS = DBLoss(
    negative_ratio=3.0,
    min_negatives=8,
    probability_weight=5.0,
    threshold_weight=10.0,
    binary_weight=1.0,
    step_k=5.0,
)

LOADER_ENDED = "the loader has ended"


class Small(nn.Module):
    """A detector with both kinds of batch norm and a weight that nothing uses.

    Process 1 fails with more than a crop: in the pass that `fails` names.
    """

    def __init__(self, fails: str = "", rank: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
        self.norm = nn.BatchNorm2d(4)
        self.norm_act = BatchNormAct2d(4)
        self.spare = nn.Linear(2, 2)
        self.fails = fails if rank == 1 else ""

    def forward(self, images: Tensor) -> Maps:
        if self.fails == "forward" and len(images) > 1:
            raise torch.OutOfMemoryError("out of memory")
        features = self.norm_act(self.norm(self.first(images)).relu())
        if self.fails == "backward" and len(images) > 1:
            features.register_hook(_no_memory)
        probability, threshold = self.second(features).split(1, dim=1)
        return Maps(probability, threshold)


def _no_memory(_: Tensor) -> None:
    raise torch.OutOfMemoryError("out of memory")


def batch(crops: int) -> Batch:
    """Crops with different amounts of text and of pixels without care."""
    draw = torch.Generator().manual_seed(crops)
    shrink = torch.zeros(crops, 1, 8, 8)
    for i in range(crops):
        shrink[i, :, 1 : 2 + i % 4, 1:6] = 1
    mask = (torch.rand(shrink.shape, generator=draw) > 0.2).float()
    threshold = torch.rand(shrink.shape, generator=draw)
    images = torch.randn(crops, 3, 8, 8, generator=draw) * 2 + 1
    return Batch(images, shrink, mask, threshold, mask)


def dealt(whole: Batch, peers: Peers) -> Batch:
    own = slice(peers.rank, None, peers.world)
    return replace(
        whole,
        images=whole.images[own],
        shrink=whole.shrink[own],
        shrink_mask=whole.shrink_mask[own],
        threshold=whole.threshold[own],
        threshold_mask=whole.threshold_mask[own],
    )


def step(peers: Peers, crops: int, parts: int, how: str = "") -> dict[str, Any]:
    """Two updates; weights, statistics, losses, what was said, and exchanges in the second.

    `how` is where the memory of process 1 is short, or that a layer is frozen in the first.
    """
    fails = how if how in ("forward", "backward") else ""
    model = Small(fails, peers.rank)
    if peers.world > 1:
        share_statistics(model, peers.network)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    state = TrainingState(model, None, optimizer, scaler, parts=parts)
    said: list[str] = []
    for turn in range(2):
        model.first.requires_grad_(how != "frozen" or turn == 1)
        own = dealt(batch(crops), peers)
        with profile(activities=[ProfilerActivity.CPU]) as calls:
            losses = update(
                state, own, loss=LOSS, amp=None, clip_norm=1.0, log=said.append, peers=peers
            )
    return {
        "losses": losses,
        "state": model.state_dict(),
        "said": said,
        "parts": state.parts,
        "exchanges": sum(call.name.startswith("gloo:") for call in calls.events()),
    }


CASES = {
    "even": (6, 1, ""),
    "uneven": (5, 1, ""),
    "empty shares": (1, 1, ""),
    "even parts": (6, 2, ""),
    "uneven parts": (7, 3, ""),
    "more parts than crops": (2, 100, ""),
    "frozen at first": (5, 2, "frozen"),
    "forward": (6, 1, "forward"),
    "backward": (6, 1, "backward"),
}


def in_parts(
    peers: Peers, checkpoint: Path, root: Path, *, choose: bool = False
) -> Validated | None:
    """A validation's result, in the process that leads."""
    detector, _ = load_detector(checkpoint, device="cpu")
    settings = settings_to_score(detector.postprocess, QUICK_GRID)
    scorer = PageScorer(read_split(root, "val").pages, settings)
    part = begin(
        detector, ScoringProcesses(scorer, 0), workers=0, share=(peers.rank, peers.world)
    ).part()
    parts = peers.gathered(part)
    return validated(settings, parts, choose=choose) if parts else None


def everything(peers: Peers, checkpoint: Path, root: Path) -> dict[str, Any]:
    """Every case in the same processes, since starting some takes seconds."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {name: step(peers, *case) for name, case in CASES.items()}
    found["no crop"] = update(
        TrainingState(Small(), None, None, None),  # type: ignore[arg-type]
        batch(0),
        loss=LOSS,
        amp=None,
        clip_norm=0.0,
        log=print,
        peers=peers,
    )
    found["validated"] = in_parts(peers, checkpoint, root)
    found["chosen"] = in_parts(peers, checkpoint, root, choose=True)
    found["told"] = peers.told(f"by {peers.rank}")
    found["gathered"] = peers.gathered(peers.rank)
    return found


def wait(peers: Peers) -> None:
    """Answer until told to stop."""
    while peers.told(True):
        time.sleep(0.01)


def is_killed(peers: Peers, folder: Path) -> None:
    """With a loader process, which holds the connections open until it says that it ends."""
    multiprocessing.get_context("fork").Process(target=_load, args=(folder,)).start()
    peers.told(True)
    os.kill(os.getpid(), signal.SIGKILL)


def _load(folder: Path) -> None:
    time.sleep(60)
    (folder / LOADER_ENDED).touch()


def refuses(peers: Peers, _: Path) -> None:
    peers.told(True)
    raise InputError("data.root: this process cannot read it")


def breaks(peers: Peers, _: Path) -> None:
    if peers.rank == 1:
        raise ZeroDivisionError("a fault of the program")
    peers.told(True)


class ShortLater(Small):
    """Process 1 has memory for the rehearsal and not for the step that follows."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.room = 1 if rank == 1 else 10

    def forward(self, images: Tensor) -> Maps:
        self.room -= 1
        if self.room < 0:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(images)


def runs_short_later(peers: Peers, _: Path) -> None:
    model = ShortLater(peers.rank)
    share_statistics(model, peers.network)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    state = TrainingState(model, None, optimizer, torch.amp.GradScaler("cpu", enabled=False))
    update(
        state,
        dealt(batch(4), peers),
        loss=LOSS,
        amp=None,
        clip_norm=1.0,
        log=lambda _: None,
        peers=peers,
    )


WAYS_TO_END: dict[str, Callable[[Peers, Path], None]] = {
    "killed by SIGKILL": is_killed,
    "ended: data.root: this process cannot read it": refuses,
    "ended: ZeroDivisionError: a fault of the program": breaks,
}
