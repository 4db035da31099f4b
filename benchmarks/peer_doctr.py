"""A training step and the loading of pages, the way of docTR (python-doctr).

Its dataset, network, label maps and loss, put together as its reference script for detection does:
pages shrunk to `crop` with their ratio kept, colours changed at random, a `DataLoader`, Adam,
gradients clipped, and the loss read back in every step for the bar that shows it. Of that script's
augmentations only the colours are here: less work. Words are quads, as with its `--rotation`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.transforms import ColorJitter, Normalize

from detector.core.errors import InputError
from detector.core.files import write_text
from detector.data.labels.pages import Page

# By the name of our backbone.
ARCHITECTURES = {
    "resnet34": "db_resnet34",
    "resnet50": "db_resnet50",
    "mobilenetv3_large_100": "db_mobilenet_v3_large",
}
LR, BETAS, EPS, CLIP_NORM = 1e-3, (0.95, 0.999), 1e-6, 5.0
Loaded = tuple[Tensor, list[Any]]


def require(backbone: str) -> None:
    """InputError unless docTR is there and has a detector with this backbone."""
    try:
        import doctr.models.detection  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"peer: docTR cannot be imported ({error}); in an environment of its own, "
            "pip install -e '.[peers]'"
        ) from None
    if backbone not in ARCHITECTURES:
        raise InputError(
            f"backbone: docTR has detectors with {', '.join(ARCHITECTURES)}, got {backbone!r}; "
            "add backbone=resnet50"
        )


class Doctr:
    """The step and the loading of docTR."""

    def __init__(self, backbone: str, pages: Sequence[Page], side: int, folder: Path) -> None:
        from doctr.models import detection

        torch.manual_seed(0)
        build = getattr(detection, ARCHITECTURES[backbone])
        self.model = build(pretrained=False, pretrained_backbone=False).train()
        self.normalize = Normalize(self.model.cfg["mean"], self.model.cfg["std"])
        self.optimizer = torch.optim.Adam(self.model.parameters(), LR, betas=BETAS, eps=EPS)
        self.batches = endless(dataset(pages, side, folder), len(pages))
        self.held = self.load(0, len(pages))

    def load(self, _turn: int, _size: int) -> Loaded:
        images, targets = next(self.batches)
        return self.normalize(images), targets

    def step(self, batch: Loaded) -> list[float]:
        loss = self.model(*batch)["loss"]
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()
        return [loss.item()]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Both maps, as in training; without a loss docTR's own would go on to boxes."""
        found = self.model.fpn([*self.model.feat_extractor(images).values()])
        return self.model.prob_head(found), self.model.thresh_head(found)


def dataset(pages: Sequence[Page], side: int, folder: Path) -> Any:
    """docTR's dataset of these pages, whose label file is written to `folder`."""
    from doctr import transforms
    from doctr.datasets import DetectionDataset

    folder.mkdir()
    labels = folder / "labels.json"
    write_text(labels, json.dumps({page.path.name: {"polygons": quads(page)} for page in pages}))
    colours = ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.02)
    size = transforms.Resize((side, side), preserve_aspect_ratio=True, symmetric_pad=True)
    return DetectionDataset(
        str(pages[0].path.parent),
        str(labels),
        use_polygons=True,
        img_transforms=transforms.ImageTorchvisionTransform(colours),
        sample_transforms=size,
    )


def quads(page: Page) -> list[list[list[float]]]:
    """The words that count and have four corners: docTR knows no others."""
    return [w.points.tolist() for w in page.words if not w.ignore and len(w.points) == 4]


def endless(data: Any, batch: int) -> Iterator[Loaded]:
    """Batches in random order, in the process that asks for them."""
    loader = DataLoader(
        data, batch_size=batch, shuffle=True, drop_last=True, collate_fn=data.collate_fn
    )
    while True:
        yield from loader
