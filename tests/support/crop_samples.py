"""Training crops of tiny pages, for the tests of datasets, batches and loaders."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from detector.data.crops.batch import PackedBatch, Sample, Unpack, collate
from detector.data.crops.dataset import TrainingPages
from detector.data.crops.transforms import Augment
from detector.data.labels.annotations import Page
from detector.data.page.preprocess import Preprocess

PREPROCESS = Preprocess(160, (0.5, 0.4, 0.3), (0.5, 0.5, 0.5))
MAPS = ("shrink", "shrink_mask", "threshold", "threshold_mask")
UNPACK = Unpack(PREPROCESS.mean, PREPROCESS.std, torch.device("cpu"))


def augment(crop_px: int = 96, **changes: float) -> Augment:
    strong = {
        "scale_min": 0.6,
        "scale_max": 1.5,
        "rotate_deg": 10.0,
        "perspective": 0.05,
        "flip": 0.5,
        "brightness": 0.3,
        "contrast": 0.3,
        "saturation": 0.3,
        "clahe": 0.3,
        "equalize": 0.3,
    }
    return Augment(crop_px=crop_px, longest_side_px=160, **(strong | changes))  # type: ignore[arg-type]


STILL = augment(
    160,
    scale_min=1.0,
    scale_max=1.0,
    rotate_deg=0.0,
    perspective=0.0,
    flip=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    clahe=0.0,
    equalize=0.0,
)


def dataset(pages: Sequence[Page], crop: Augment | None = None, seed: int = 3) -> TrainingPages:
    return TrainingPages(pages, crop or augment(), PREPROCESS, seed=seed)


def maps_of(sample: Sample) -> dict[str, torch.Tensor]:
    """The four label maps of a sample, `(H, W)` float32 each, by name."""
    batch = UNPACK(collate([sample]))
    return {name: getattr(batch, name)[0, 0] for name in MAPS}


def assert_equal(a: PackedBatch, b: PackedBatch) -> None:
    assert a.names == b.names
    assert a.broken == b.broken
    for field in ("images", "threshold", "masks"):
        assert torch.equal(getattr(a, field), getattr(b, field)), field
