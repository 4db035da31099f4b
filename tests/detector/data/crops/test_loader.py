from __future__ import annotations

import multiprocessing

import pytest
import torch
from crop_samples import PREPROCESS, UNPACK, assert_equal, augment, dataset

from detector.data.crops.batch import PackedBatch, Unpack, collate
from detector.data.crops.dataset import TrainingPages
from detector.data.crops.loader import epoch_order, training_batches
from detector.data.labels.annotations import Page


def test_epoch_order_is_a_permutation_fixed_by_seed_and_epoch() -> None:
    order = epoch_order(100, 5, 2)
    assert sorted(order) == list(range(100))
    assert order == epoch_order(100, 5, 2)
    assert order != epoch_order(100, 5, 3)
    assert order != epoch_order(100, 6, 2)
    assert epoch_order(0, 5, 2) == []
    assert all(type(i) is int for i in order)


def load(
    samples: TrainingPages, workers: int = 0, first: int = 1, end: int = 2, **others: int
) -> list[PackedBatch]:
    options = {"batch_size": 2, "seed": 7, "pin_memory": False} | others
    return [*training_batches(samples, workers=workers, epochs=range(first, end), **options)]


def test_loader_processes_change_nothing(pages: tuple[Page, ...], broken: Page) -> None:
    samples = dataset((*pages, broken))
    alone, together = load(samples, 0), load(samples, 2)
    assert len(alone) == len(together) == 3
    for a, b in zip(alone, together, strict=True):
        assert_equal(a, b)


def test_torch_threads_change_nothing(pages: tuple[Page, ...]) -> None:
    threads = torch.get_num_threads()
    samples = dataset(pages, augment(320))
    try:
        torch.set_num_threads(1)
        one = load(samples, 0)
        torch.set_num_threads(3)
        three = load(samples, 0)
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(one, three, strict=True):
        assert_equal(a, b)


def test_an_epoch_shows_every_page_once_in_its_order(pages: tuple[Page, ...]) -> None:
    samples = dataset(pages)
    batches = load(samples, 0)
    assert [len(b.images) for b in batches] == [2, 2, 1]
    shown = [name for batch in batches for name in batch.names]
    assert shown == [pages[i].name for i in epoch_order(5, 7, 1)]
    assert_equal(batches[2], collate([samples[1, epoch_order(5, 7, 1)[4]]]))


@pytest.mark.parametrize("workers", [0, 2])
def test_one_epoch_follows_another_as_after_a_resume(pages: tuple[Page, ...], workers: int) -> None:
    samples = dataset(pages)
    through = load(samples, workers, 0, 3)
    resumed = [*load(samples, workers, 0, 1), *load(samples, workers, 1, 3)]
    assert len(through) == len(resumed) == 9
    for a, b in zip(through, resumed, strict=True):
        assert_equal(a, b)


def test_the_processes_are_the_same_for_all_epochs_and_end_with_the_batches(
    pages: tuple[Page, ...],
) -> None:
    batches = training_batches(
        dataset(pages), batch_size=5, workers=2, epochs=range(50), seed=7, pin_memory=False
    )
    seen = []
    for _ in range(8):
        next(batches)
        seen.append({child.pid for child in multiprocessing.active_children()})
    assert seen == [seen[0]] * 8
    assert len(seen[0]) == 2
    batches.close()
    assert not seen[0].intersection(p.pid for p in multiprocessing.active_children())


def test_processes_are_dealt_each_batch_crop_by_crop(pages: tuple[Page, ...]) -> None:
    samples = dataset(pages)
    shared = [load(samples, batch_size=4, rank=rank, world=3) for rank in range(3)]
    assert [[len(b.images) for b in batches] for batches in shared] == [[2, 1], [1, 0], [1, 0]]
    for whole, *parts in zip(load(samples, batch_size=4), *shared, strict=True):
        for rank, part in enumerate(parts):
            assert part.names == whole.names[rank::3]
            assert torch.equal(part.images.flatten(), whole.images[rank::3].flatten())


def test_epochs_differ_and_the_global_random_state_is_left_alone(pages: tuple[Page, ...]) -> None:
    state = torch.get_rng_state()
    samples = dataset(pages)
    assert not torch.equal(
        load(samples, first=1, batch_size=5)[0].images,
        load(samples, first=2, end=3, batch_size=5)[0].images,
    )
    assert torch.equal(state, torch.get_rng_state())


def test_whole_pages_make_batches(pages: tuple[Page, ...]) -> None:
    samples = dataset(pages, augment(0))
    batch = load(samples, batch_size=5)[0]
    assert len(batch.images) == 5
    assert batch.images.shape[1] % 32 == batch.images.shape[2] % 32 == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pages are locked for a GPU only")
def test_pinned_batches(pages: tuple[Page, ...]) -> None:
    (batch,) = load(dataset(pages), 1, batch_size=5, pin_memory=True)
    assert all(t.is_pinned() for t in (batch.images, batch.threshold, batch.masks))
    (plain,) = load(dataset(pages), batch_size=5)
    assert_equal(batch, plain)
    there = Unpack(PREPROCESS.mean, PREPROCESS.std, torch.device("cuda"))(batch)
    for found, wanted in zip(vars(there).values(), vars(UNPACK(plain)).values(), strict=True):
        torch.testing.assert_close(found.cpu(), wanted)
