"""A training step and the loading of pages, the way of the contest entry.

Written from a description of it, and no slower than it:

step: NCHW tensors, torch's defaults, the memory of the C library's defaults. Probabilities from
    the network, BCE on them, the step as a reciprocal of an exponential, the hardest negatives
    by one `topk` over all pixels of an image, how many read back from the tensors; the four
    losses read back and written to TensorBoard in every step. Masks and the number of negatives
    are ours, since the entry's own would be another loss and the results could not be compared.
loading: decode, resize to `crop`, pad, flip by chance, normalise, and the label maps word by
    word (`bench_targets.loop`). No rotation, perspective or colours, which ours has: less work.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from bench_pipeline import MEAN, STD, loop_or_nothing
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from detector.config.settings import TrainConfig
from detector.data.crops.batch import Batch
from detector.data.crops.dataset import TrainingPages
from detector.data.labels.pages import Page
from detector.model.dbnet import DBNet

CONFIG = TrainConfig()


class Contest:
    """The step and the loading of the contest entry."""

    def __init__(
        self,
        model: DBNet,
        optimizer: torch.optim.Optimizer,
        held: Batch,
        data: TrainingPages,
        folder: Path,
    ) -> None:
        self.model = self.forward = model
        self.optimizer, self.held = optimizer, held
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
    mean, std = (255 * np.array(v, np.float32) for v in (MEAN, STD))
    scaled = np.ascontiguousarray(((image.astype(np.float32) - mean) / std).transpose(2, 0, 1))
    return [torch.from_numpy(m) for m in (scaled, *loop_or_nothing(words, side))]
