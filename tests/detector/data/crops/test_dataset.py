from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detector.core.geometry import text_box
from detector.data.crops.dataset import (
    Batch,
    Sample,
    TrainingPages,
    WholePages,
    collate,
    epoch_order,
    training_loader,
    whole_page_loader,
)
from detector.data.crops.targets import make_targets
from detector.data.crops.transforms import Augment
from detector.data.labels.annotations import Page, Word, read_image, read_split
from detector.data.page.cache import PageCache
from detector.data.page.prepare import Preparation
from detector.data.page.preprocess import Preprocess

PREPROCESS = Preprocess(160, (0.5, 0.4, 0.3), (0.5, 0.5, 0.5))
MAPS = ("shrink", "shrink_mask", "threshold", "threshold_mask")


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


@pytest.fixture(scope="module")
def pages(make_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple:
    root = make_dataset(tmp_path_factory.mktemp("data"), pages=5, words=6)
    return read_split(root, "train").pages


@pytest.fixture
def broken(pages: tuple[Page, ...], tmp_path: Path) -> Page:
    path = tmp_path / "torn.jpg"
    path.write_bytes(pages[0].path.read_bytes()[:400])
    return replace(pages[0], name="torn.jpg", path=path)


def dataset(pages: tuple[Page, ...], crop: Augment | None = None, seed: int = 3) -> TrainingPages:
    return TrainingPages(pages, crop or augment(), PREPROCESS, seed=seed)


def assert_equal(a: Batch, b: Batch) -> None:
    assert a.names == b.names
    assert a.broken == b.broken
    for field in ("images", *MAPS):
        assert torch.equal(getattr(a, field), getattr(b, field)), field


def test_a_sample_is_the_crop_with_the_targets_of_its_words(pages: tuple[Page, ...]) -> None:
    crop = replace(STILL, crop_px=0)
    sample = dataset(pages, crop)[1]
    image = read_image(pages[1].path)
    assert sample.name == pages[1].name
    assert sample.error is None
    assert sample.image is not None
    assert sample.maps is not None
    assert torch.equal(sample.image, PREPROCESS.normalize(image))
    expected = make_targets([w.points for w in pages[1].words], [False] * 6, *image.shape[:2])
    for tensor, name in zip(sample.maps, MAPS, strict=True):
        np.testing.assert_allclose(tensor, getattr(expected, name), atol=1e-3)
    assert sample.maps[0].sum() > 0


def test_ignored_words_are_masked_and_not_learnt(pages: tuple[Page, ...]) -> None:
    words = tuple(replace(word, ignore=i != 2) for i, word in enumerate(pages[0].words))
    crop = replace(STILL, crop_px=0)
    sample = dataset((replace(pages[0], words=words),), crop)[0]
    assert sample.maps is not None
    for i, word in enumerate(words):
        x, y = word.points.mean(axis=0).round().astype(int)
        assert sample.maps[0][y, x] == (i == 2)
        assert sample.maps[1][y, x] == (i == 2)


def test_a_page_of_ignored_words_and_a_page_without_words(pages: tuple[Page, ...]) -> None:
    ignored = tuple(replace(word, ignore=True) for word in pages[0].words)
    both = (replace(pages[0], words=ignored), replace(pages[1], words=()))
    batch = collate([dataset(both)[0], dataset(both)[1]])
    assert batch.shrink.sum() == 0
    assert (batch.shrink_mask[1] == 1).all()
    assert batch.threshold_mask.sum() == 0


def test_target_settings_are_used(pages: tuple[Page, ...]) -> None:
    crop = replace(STILL, crop_px=0)
    thin, fat = (
        TrainingPages(pages, crop, PREPROCESS, seed=0, shrink_ratio=r, threshold_min=0.1)[0].maps
        for r in (0.2, 0.8)
    )
    assert thin is not None
    assert fat is not None
    assert fat[0].sum() > 1.5 * thin[0].sum() > 0
    np.testing.assert_allclose(thin[2].min(), 0.1, atol=1e-6)


def test_outside_the_page_is_what_pads_at_evaluation(pages: tuple[Page, ...]) -> None:
    crop = replace(STILL, crop_px=256)  # the page is 160 x 128
    sample = dataset(pages, crop)[0]
    assert sample.image is not None
    corners = sample.image[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.abs().min(dim=1).values.max() < 0.01


def test_a_sample_depends_on_seed_epoch_and_index_only(pages: tuple[Page, ...]) -> None:
    first, second = dataset(pages), dataset(pages)
    for _ in range(2):
        second[4]
        second[0]
    torch.manual_seed(99)
    assert_equal(collate([first[2]]), collate([second[2]]))
    second.set_epoch(1)
    assert not torch.equal(first[2].image, second[2].image)
    second.set_epoch(0)
    assert_equal(collate([first[2]]), collate([second[2]]))
    assert not torch.equal(first[2].image, dataset(pages, seed=4)[2].image)


def test_epoch_order_is_a_permutation_fixed_by_seed_and_epoch() -> None:
    order = epoch_order(100, 5, 2)
    assert sorted(order) == list(range(100))
    assert order == epoch_order(100, 5, 2)
    assert order != epoch_order(100, 5, 3)
    assert order != epoch_order(100, 6, 2)
    assert epoch_order(0, 5, 2) == []
    assert all(type(i) is int for i in order)


def load(samples: TrainingPages, workers: int, epoch: int = 1, batch_size: int = 2) -> list[Batch]:
    loader = training_loader(
        samples, batch_size=batch_size, workers=workers, epoch=epoch, seed=7, pin_memory=False
    )
    return list(loader)


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
    assert samples.epoch == 0
    samples.set_epoch(1)
    assert_equal(batches[2], collate([samples[epoch_order(5, 7, 1)[4]]]))


def test_processes_are_dealt_each_batch_crop_by_crop(pages: tuple[Page, ...]) -> None:
    samples = dataset(pages)
    shared = [
        list(
            training_loader(
                samples,
                batch_size=4,
                workers=0,
                epoch=1,
                seed=7,
                pin_memory=False,
                rank=rank,
                world=3,
            )
        )
        for rank in range(3)
    ]
    assert [[len(b.images) for b in batches] for batches in shared] == [[2, 1], [1, 0], [1, 0]]
    for whole, *parts in zip(load(samples, 0, batch_size=4), *shared, strict=True):
        for rank, part in enumerate(parts):
            assert part.names == whole.names[rank::3]
            assert torch.equal(part.images.flatten(), whole.images[rank::3].flatten())


def test_epochs_differ_and_the_global_random_state_is_left_alone(pages: tuple[Page, ...]) -> None:
    state = torch.get_rng_state()
    samples = dataset(pages)
    assert not torch.equal(
        load(samples, 0, epoch=1, batch_size=5)[0].images,
        load(samples, 0, epoch=2, batch_size=5)[0].images,
    )
    assert torch.equal(state, torch.get_rng_state())


def test_broken_pages_are_dropped_and_named(pages: tuple[Page, ...], broken: Page) -> None:
    samples = dataset((pages[0], broken, pages[1]))
    batch = collate([samples[i] for i in range(3)])
    assert batch.names == [pages[0].name, pages[1].name]
    assert batch.images.shape == (2, 3, 96, 96)
    assert len(batch.broken) == 1
    assert "torn.jpg" in batch.broken[0]
    assert_equal(replace(batch, broken=[]), collate([samples[0], samples[2]]))


def test_a_missing_file_is_named(pages: tuple[Page, ...], tmp_path: Path) -> None:
    gone = replace(pages[0], path=tmp_path / "gone.jpg")
    assert "gone.jpg" in str(dataset((gone,))[0].error)
    assert "gone.jpg" in str(WholePages([gone.path], PREPROCESS)[0].error)


def test_a_word_behind_the_camera_names_the_page(pages: tuple[Page, ...]) -> None:
    far = np.array([[-1e7, -1e7], [1e7, -1e7], [1e7, 1e7], [-1e7, 1e7]], np.float32)
    page = replace(pages[0], words=(Word("0001", far, None, False),))
    error = str(dataset((page,))[0].error)
    assert str(page.path) in error
    assert "lies so far outside the page" in error


def test_a_batch_of_broken_pages_is_empty(broken: Page) -> None:
    batch = collate([dataset((broken,))[0]] * 2)
    assert batch.images.shape[:2] == (0, 3)
    assert all(getattr(batch, name).shape[:2] == (0, 1) for name in MAPS)
    assert len(batch.broken) == 2
    assert batch.names == []
    assert len(batch.to("cpu", channels_last=True).images) == 0


def test_different_sizes_are_padded_and_masked() -> None:
    def sample(name: str, height: int, width: int) -> Sample:
        return Sample(name, torch.full((3, height, width), 2.0), torch.ones(4, height, width))

    batch = collate([sample("a", 64, 32), sample("b", 32, 96)])
    assert batch.images.shape == (2, 3, 64, 96)
    assert batch.shrink.shape == batch.threshold_mask.shape == (2, 1, 64, 96)
    for name, height, width, i in (("images", 64, 32, 0), ("images", 32, 96, 1)):
        page = getattr(batch, name)[i]
        assert (page[:, :height, :width] == 2).all()
        assert page.sum() == 3 * 2 * height * width
    for name in MAPS:
        assert getattr(batch, name)[0].sum() == 64 * 32
        assert getattr(batch, name)[1, :, :32].sum() == 32 * 96


def test_whole_pages_make_batches(pages: tuple[Page, ...]) -> None:
    samples = dataset(pages, augment(0))
    batch = load(samples, 0, batch_size=5)[0]
    assert len(batch.images) == 5
    assert batch.images.shape[2] % 32 == batch.images.shape[3] % 32 == 0


def test_moving_a_batch(pages: tuple[Page, ...]) -> None:
    batch = collate([dataset(pages)[0], dataset(pages)[1]])
    moved = batch.to("cpu", channels_last=True)
    assert moved.images.is_contiguous(memory_format=torch.channels_last)
    assert_equal(batch, moved)
    assert batch.to(torch.device("cpu"), channels_last=False).images.is_contiguous()
    assert batch.to("meta").threshold_mask.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pages are locked for a GPU only")
def test_pinned_batches(pages: tuple[Page, ...]) -> None:
    loader = training_loader(
        dataset(pages), batch_size=5, workers=1, epoch=0, seed=7, pin_memory=True
    )
    batch = next(iter(loader))
    assert isinstance(batch, Batch)
    assert all(getattr(batch, name).is_pinned() for name in ("images", *MAPS))
    plain = training_loader(
        dataset(pages), batch_size=5, workers=0, epoch=0, seed=7, pin_memory=False
    )
    moved = batch.to("cuda", channels_last=True).to("cpu")
    assert_equal(moved, next(iter(plain)))  # type: ignore[arg-type]


def test_datasets_travel_to_loader_processes(pages: tuple[Page, ...]) -> None:
    samples = pickle.loads(pickle.dumps(dataset(pages)))
    assert_equal(collate([samples[1]]), collate([dataset(pages)[1]]))
    whole = WholePages([page.path for page in pages], PREPROCESS)
    one, other = pickle.loads(pickle.dumps(whole))[0].page, whole[0].page
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.image, other.image)


@pytest.mark.parametrize("workers", [0, 2])
def test_whole_pages(pages: tuple[Page, ...], broken: Page, workers: int) -> None:
    paths = [pages[0].path, broken.path, pages[1].path]
    loader = whole_page_loader(paths, PREPROCESS, workers=workers, batch_size=2)
    (_, torn), (last,) = loader
    image, affine = PREPROCESS.resize(read_image(pages[1].path))
    assert (last.index, last.error) == (2, "")
    assert last.page is not None
    np.testing.assert_array_equal(last.page.image, image)
    np.testing.assert_array_equal(last.page.affine, affine)
    assert last.page.size == (pages[1].width, pages[1].height)
    assert (torn.index, torn.page) == (1, None)
    assert "torn.jpg" in torn.error


def test_a_cache_of_whole_pages_changes_nothing(pages: tuple[Page, ...], tmp_path: Path) -> None:
    crop = augment()
    cache = PageCache(tmp_path / "cache", 10**9)
    cached = TrainingPages(pages, crop, PREPROCESS, seed=3, cache=cache)
    assert cached.largest_side_px(pages[0]) == 240
    for _ in range(2):
        for one, other in zip(load(dataset(pages, crop), 0), load(cached, 2), strict=True):
            assert_equal(one, other)
    assert len(list((tmp_path / "cache").glob("*.page"))) == 5


def test_a_cache_of_shrunk_pages_gives_the_same_crops(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_dataset(tmp_path, pages=3, words=6, width=640, height=512)
    large = read_split(root, "train").pages
    crop = augment(160, clahe=0.0, equalize=0.0, brightness=0.0, contrast=0.0, saturation=0.0)
    cache = PageCache(tmp_path / "cache", 10**9)
    cached = TrainingPages(large, crop, PREPROCESS, seed=3, cache=cache)
    plain = TrainingPages(large, crop, PREPROCESS, seed=3)
    for epoch in range(4):
        cached.set_epoch(epoch)
        plain.set_epoch(epoch)
        for i in range(3):
            one, other = plain[i], cached[i]
            assert one.maps is not None
            assert other.maps is not None
            assert one.image is not None
            assert other.image is not None
            assert (one.maps[0] != other.maps[0]).float().mean() < 0.01
            assert (one.maps[2] - other.maps[2]).abs().mean() < 0.005
            assert (one.image - other.image).abs().mean() < 0.1 * one.image.std()
            assert other.image.std() == pytest.approx(float(one.image.std()), rel=0.05)


def test_a_cache_names_broken_pages_as_without(
    pages: tuple[Page, ...], broken: Page, tmp_path: Path
) -> None:
    cache = PageCache(tmp_path / "cache", 10**9)
    samples = TrainingPages((pages[0], broken), augment(), PREPROCESS, seed=3, cache=cache)
    for _ in range(2):
        plain = dataset((pages[0], broken))
        assert_equal(collate([samples[0], samples[1]]), collate([plain[0], plain[1]]))


def test_a_page_is_cropped_to_its_words_before_it_is_scaled(pages: tuple[Page, ...]) -> None:
    still = replace(STILL, crop_px=0, fill=PREPROCESS.fill)
    cropping = replace(PREPROCESS, crop_margin=0.1)
    page, image = replace(pages[0], words=pages[0].words[:1]), read_image(pages[0].path)
    points = [word.points for word in page.words]
    x0, y0, x1, y1 = text_box(points, (page.width, page.height), 0.1) or pytest.fail("no words")
    assert (x0, y0, x1, y1) != (0, 0, page.width, page.height)
    moved = [p - np.array([x0, y0], np.float32) for p in points]
    crop, _, _ = still(image[y0:y1, x0:x1], moved, np.random.default_rng([3, 0, 0]))
    sample = TrainingPages([page], still, cropping, seed=3)[0]
    assert sample.image is not None
    assert torch.equal(sample.image, PREPROCESS.normalize(crop))


def test_a_blank_page_is_not_cropped(pages: tuple[Page, ...]) -> None:
    blank = (replace(pages[0], words=()),)
    plain = TrainingPages(blank, augment(), PREPROCESS, seed=3)
    cropped = TrainingPages(blank, augment(), replace(PREPROCESS, crop_margin=0.1), seed=3)
    assert_equal(collate([plain[0]]), collate([cropped[0]]))


def test_a_cache_keeps_what_a_crop_needs(pages: tuple[Page, ...], tmp_path: Path) -> None:
    cropping = replace(PREPROCESS, crop_margin=0.0)
    words = (pages[0].words[0],)  # a small part of the page, so seen much larger
    large = (replace(pages[0], words=words),)
    plain = TrainingPages(large, augment(), cropping, seed=3)
    cached = TrainingPages(
        large, augment(), cropping, seed=3, cache=PageCache(tmp_path / "cache", 10**9)
    )
    assert plain.largest_side_px(large[0]) > max(large[0].width, large[0].height)
    assert_equal(collate([plain[0]]), collate([cached[0]]))


def test_a_prepared_page_is_trained_on_and_kept(pages: tuple[Page, ...], tmp_path: Path) -> None:
    prepared = replace(PREPROCESS, preparation=Preparation(contrast="equalize"))
    plain = TrainingPages(pages, augment(), prepared, seed=3)
    cache = PageCache(tmp_path / "cache", 10**9, prepared.preparation, prepared.fill)
    cached = TrainingPages(pages, augment(), prepared, seed=3, cache=cache)
    unprepared = TrainingPages(pages, augment(), PREPROCESS, seed=3)
    for _ in range(2):
        assert_equal(collate([plain[0]]), collate([cached[0]]))
    assert plain[0].image is not None
    assert unprepared[0].image is not None
    assert not torch.equal(plain[0].image, unprepared[0].image)
    PageCache(tmp_path / "cache", 10**9).read(pages[0].path, 240)
    assert len(list((tmp_path / "cache").glob("*.page"))) == 2
