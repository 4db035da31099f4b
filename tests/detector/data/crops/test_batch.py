from __future__ import annotations

import numpy as np
import torch
from crop_samples import MAPS, PREPROCESS, UNPACK, dataset
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.data.crops.batch import PackedBatch, Sample, Unpack, collate, packed
from detector.data.crops.targets import Targets
from detector.data.labels.annotations import Page

CPU = torch.device("cpu")


@examples(100)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=3),
    seed=st.integers(0, 2**16),
    channels_last=st.booleans(),
)
def test_what_is_unpacked_is_what_was_packed(
    sizes: list[tuple[int, int]], seed: int, channels_last: bool
) -> None:
    """Within half a step of the threshold map, whatever the sizes: padding is masked."""
    rng = np.random.default_rng(seed)
    crops = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    maps = [random_maps(size, rng) for size in sizes]
    samples = [packed("", crop, Targets(*four)) for crop, four in zip(crops, maps, strict=True)]
    unpack = Unpack(PREPROCESS.mean, PREPROCESS.std, CPU, channels_last=channels_last)
    batch = unpack(collate(samples, PREPROCESS.fill))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert batch.images.is_contiguous(memory_format=layout)
    outside = PREPROCESS.normalize(np.full((1, 1, 3), PREPROCESS.fill, np.uint8))
    for i, (height, width) in enumerate(sizes):
        image = batch.images[i]
        torch.testing.assert_close(image[:, :height, :width], PREPROCESS.normalize(crops[i]))
        for part in (image[:, height:], image[:, :, width:]):
            torch.testing.assert_close(part, outside.expand(part.shape))
        for name, wanted in zip(MAPS, maps[i], strict=True):
            found = getattr(batch, name)[i, 0].numpy()
            half = 0.5 / 255 + 1e-6 if name == "threshold" else 0
            assert np.abs(found[:height, :width] - wanted).max() <= half
            assert not found[height:].any()
            assert not found[:, width:].any()


def random_maps(size: tuple[int, int], rng: np.random.Generator) -> list[NDArray]:
    """In the order of `MAPS`."""
    masks = list(rng.integers(0, 2, (3, *size), dtype=np.uint8))
    return [*masks[:2], rng.random(size, np.float32), masks[2]]


def test_a_crop_of_640_px_travels_in_under_two_megabytes() -> None:
    side = 640
    crop = np.zeros((side, side, 3), np.uint8)
    maps = random_maps((side, side), np.random.default_rng(0))
    batch = collate([packed("", crop, Targets(*maps))])
    assert batch.images.nbytes + batch.threshold.nbytes + batch.masks.nbytes == 1_792_000


def test_a_batch_of_broken_pages_is_empty(broken: Page) -> None:
    batch = collate([dataset((broken,))[0, 0]] * 2)
    assert len(batch.broken) == 2
    assert batch.names == []
    found = UNPACK(batch)
    assert found.images.shape == (0, 3, 0, 0)
    assert all(getattr(found, name).shape == (0, 1, 0, 0) for name in MAPS)


def test_a_process_without_crops_gets_an_empty_batch() -> None:
    nothing: list[Sample] = []
    assert UNPACK(collate(nothing)).threshold_mask.shape == (0, 1, 0, 0)


def test_a_broken_page_between_others_leaves_no_gap(pages: tuple[Page, ...], broken: Page) -> None:
    samples = dataset((pages[0], broken, pages[1]))
    batch = collate([samples[0, i] for i in range(3)])
    assert isinstance(batch, PackedBatch)
    alone = collate([samples[0, 0], samples[0, 2]])
    assert torch.equal(batch.images, alone.images)
    assert batch.names == alone.names
