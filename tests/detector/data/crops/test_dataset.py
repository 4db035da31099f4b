from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from crop_samples import PREPROCESS, STILL, assert_equal, augment, dataset, maps_of
from PIL import Image

from detector.config.settings import TrainConfig
from detector.core.geometry import text_box
from detector.data.crops.batch import collate
from detector.data.crops.dataset import TrainingPages
from detector.data.crops.targets import make_targets
from detector.data.crops.transforms import Augment
from detector.data.labels.annotations import Page, Word, read_image, read_split
from detector.data.page.cache import PageCache
from detector.data.page.prepare import Preparation
from detector.inference.detector import make_preprocess


def test_a_sample_is_the_crop_with_the_targets_of_its_words(pages: tuple[Page, ...]) -> None:
    crop = replace(STILL, crop_px=0)
    sample = dataset(pages, crop)[0, 1]
    image = read_image(pages[1].path)
    assert sample.name == pages[1].name
    assert sample.error is None
    np.testing.assert_array_equal(sample.image, image)
    expected = make_targets([w.points for w in pages[1].words], [False] * 6, *image.shape[:2])
    for name, found in maps_of(sample).items():
        np.testing.assert_allclose(found, getattr(expected, name), atol=1 / 500)
    assert expected.shrink.sum() > 0


def test_ignored_words_are_masked_and_not_learnt(pages: tuple[Page, ...]) -> None:
    words = tuple(replace(word, ignore=i != 2) for i, word in enumerate(pages[0].words))
    crop = replace(STILL, crop_px=0)
    maps = maps_of(dataset((replace(pages[0], words=words),), crop)[0, 0])
    for i, word in enumerate(words):
        x, y = word.points.mean(axis=0).round().astype(int)
        assert maps["shrink"][y, x] == (i == 2)
        assert maps["shrink_mask"][y, x] == (i == 2)


def test_a_page_of_ignored_words_and_a_page_without_words(pages: tuple[Page, ...]) -> None:
    ignored = tuple(replace(word, ignore=True) for word in pages[0].words)
    both = (replace(pages[0], words=ignored), replace(pages[1], words=()))
    first, second = (maps_of(dataset(both)[0, i]) for i in range(2))
    assert first["shrink"].sum() == second["shrink"].sum() == 0
    assert (second["shrink_mask"] == 1).all()
    assert first["threshold_mask"].sum() == second["threshold_mask"].sum() == 0


def test_target_settings_are_used(pages: tuple[Page, ...]) -> None:
    crop = replace(STILL, crop_px=0)
    thin, fat = (
        TrainingPages(pages, crop, PREPROCESS, seed=0, shrink_ratio=r, threshold_min=0.1)
        for r in (0.2, 0.8)
    )
    maps = maps_of(thin[0, 0])
    assert maps_of(fat[0, 0])["shrink"].sum() > 1.5 * maps["shrink"].sum() > 0
    assert maps["threshold"].min() == pytest.approx(0.1, abs=1 / 500)


def test_outside_the_page_is_what_pads_at_evaluation(pages: tuple[Page, ...]) -> None:
    crop = replace(STILL, crop_px=256)  # the page is 160 x 128
    sample = dataset(pages, crop)[0, 0]
    assert sample.image is not None
    corners = sample.image[[0, 0, -1, -1], [0, -1, 0, -1]].int()
    assert (corners - torch.tensor(PREPROCESS.fill)).abs().sum(dim=1).min() == 0


def test_a_sample_depends_on_seed_epoch_and_index_only(pages: tuple[Page, ...]) -> None:
    first, second = dataset(pages), dataset(pages)
    for _ in range(2):
        second[0, 4]
        second[0, 0]
    torch.manual_seed(99)
    assert_equal(collate([first[0, 2]]), collate([second[0, 2]]))
    one = first[0, 2].image
    assert one is not None
    for other in (second[1, 2].image, dataset(pages, seed=4)[0, 2].image):
        assert other is not None
        assert not torch.equal(one, other)


def test_broken_pages_are_dropped_and_named(pages: tuple[Page, ...], broken: Page) -> None:
    samples = dataset((pages[0], broken, pages[1]))
    batch = collate([samples[0, i] for i in range(3)])
    assert batch.names == [pages[0].name, pages[1].name]
    assert batch.images.shape == (2, 96, 96, 3)
    assert len(batch.broken) == 1
    assert "torn.jpg" in batch.broken[0]
    assert_equal(replace(batch, broken=[]), collate([samples[0, 0], samples[0, 2]]))


def test_a_missing_file_is_named(pages: tuple[Page, ...], tmp_path: Path) -> None:
    gone = replace(pages[0], path=tmp_path / "gone.jpg")
    assert "gone.jpg" in str(dataset((gone,))[0, 0].error)


def test_a_word_behind_the_camera_names_the_page(pages: tuple[Page, ...]) -> None:
    far = np.array([[-1e7, -1e7], [1e7, -1e7], [1e7, 1e7], [-1e7, 1e7]], np.float32)
    page = replace(pages[0], words=(Word("0001", far, None, False),))
    error = str(dataset((page,))[0, 0].error)
    assert str(page.path) in error
    assert "lies so far outside the page" in error


def test_a_dataset_travels_to_loader_processes(pages: tuple[Page, ...]) -> None:
    samples = pickle.loads(pickle.dumps(dataset(pages)))
    assert_equal(collate([samples[0, 1]]), collate([dataset(pages)[0, 1]]))


@pytest.mark.parametrize(
    ("times", "block"), [(1, 1), (2, 1), (4, 2), (5, 3)], ids=["small", "kept", "halved", "thirds"]
)
def test_a_cache_changes_no_bit(
    make_dataset: Callable[..., Path], tmp_path: Path, times: int, block: int
) -> None:
    """Pages of 160 px are as large as the network's; a zoom of 1.5 shows 240."""
    root = make_dataset(tmp_path, pages=3, words=6, width=160 * times, height=128 * times)
    pages = read_split(root, "train").pages
    cached = TrainingPages(
        pages, augment(), PREPROCESS, seed=3, cache=PageCache(tmp_path / "cache", 10**9)
    )
    assert cached.block(pages[0]) == block
    for epoch in range(2):
        for i in range(3):
            assert_equal(
                collate([dataset(pages, augment())[epoch, i]]), collate([cached[epoch, i]])
            )
    assert len(list((tmp_path / "cache").glob("*.page"))) == 3


def test_means_of_squares_lose_nothing_that_a_crop_shows(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    """Compared with crops of pages in full, of which two pixels are less than one of a crop."""
    root = make_dataset(tmp_path, pages=3, words=6, width=642, height=513)
    pages = read_split(root, "train").pages
    crop = augment(160, clahe=0.0, equalize=0.0, brightness=0.0, contrast=0.0, saturation=0.0)
    samples = TrainingPages(pages, crop, PREPROCESS, seed=3)
    for epoch in range(4):
        for i, page in enumerate(pages):
            assert samples.block(page) == 2
            found, targets = samples.crop(epoch, i)
            rng = np.random.default_rng([3, epoch, i])
            full, polygons, _ = replace(crop, fill=PREPROCESS.fill)(
                read_image(page.path), [word.points for word in page.words], rng
            )
            expected = make_targets(polygons, [False] * 6, 160, 160)
            assert (targets.shrink != expected.shrink).mean() < 0.01
            assert np.abs(targets.threshold - expected.threshold).mean() < 0.01
            one, other = (np.abs(np.diff(i.astype(float), axis=1)).mean() for i in (found, full))
            assert one == pytest.approx(other, rel=0.05)
            assert np.abs(found.astype(float) - full).mean() < 3


def test_a_cache_names_broken_pages_as_without(
    pages: tuple[Page, ...], broken: Page, tmp_path: Path
) -> None:
    cache = PageCache(tmp_path / "cache", 10**9)
    samples = TrainingPages((pages[0], broken), augment(), PREPROCESS, seed=3, cache=cache)
    for _ in range(2):
        plain = dataset((pages[0], broken))
        assert_equal(collate([samples[0, 0], samples[0, 1]]), collate([plain[0, 0], plain[0, 1]]))


def test_a_page_is_cropped_to_its_words_before_it_is_scaled(pages: tuple[Page, ...]) -> None:
    still = replace(STILL, crop_px=0, fill=PREPROCESS.fill)
    cropping = replace(PREPROCESS, crop_margin=0.1)
    page, image = replace(pages[0], words=pages[0].words[:1]), read_image(pages[0].path)
    points = [word.points for word in page.words]
    x0, y0, x1, y1 = text_box(points, (page.width, page.height), 0.1) or pytest.fail("no words")
    assert (x0, y0, x1, y1) != (0, 0, page.width, page.height)
    moved = [p - np.array([x0, y0], np.float32) for p in points]
    crop, _, _ = still(image[y0:y1, x0:x1], moved, np.random.default_rng([3, 0, 0]))
    sample = TrainingPages([page], still, cropping, seed=3)[0, 0]
    np.testing.assert_array_equal(sample.image, crop)


def test_a_blank_page_is_not_cropped(pages: tuple[Page, ...]) -> None:
    blank = (replace(pages[0], words=()),)
    plain = TrainingPages(blank, augment(), PREPROCESS, seed=3)
    cropped = TrainingPages(blank, augment(), replace(PREPROCESS, crop_margin=0.1), seed=3)
    assert_equal(collate([plain[0, 0]]), collate([cropped[0, 0]]))


def test_a_cache_keeps_what_a_crop_needs(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    """A small part of the page, which is seen much larger than the page would be."""
    root = make_dataset(tmp_path, pages=1, words=6, width=640, height=512)
    (page,) = read_split(root, "train").pages
    cropping = replace(PREPROCESS, crop_margin=0.0)
    few = (replace(page, words=page.words[:1]),)
    cache = PageCache(tmp_path / "cache", 10**9)
    plain = TrainingPages(few, augment(), cropping, seed=3)
    cached = TrainingPages(few, augment(), cropping, seed=3, cache=cache)
    assert (plain.block(few[0]), dataset(few).block(few[0])) == (1, 2)
    assert_equal(collate([plain[0, 0]]), collate([cached[0, 0]]))


def test_a_page_to_be_laid_flat_is_kept_in_full(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    """How large its receipt is shows only when it lies flat."""
    root = make_dataset(tmp_path, pages=1, width=640, height=512)
    pages = read_split(root, "train").pages
    flat = replace(PREPROCESS, preparation=Preparation(flatten="perspective"))
    assert TrainingPages(pages, augment(), flat, seed=3).block(pages[0]) == 1


def test_a_prepared_page_is_trained_on_and_kept(pages: tuple[Page, ...], tmp_path: Path) -> None:
    prepared = replace(PREPROCESS, preparation=Preparation(contrast="equalize"))
    cache = PageCache(tmp_path / "cache", 10**9)
    plain = TrainingPages(pages, augment(), prepared, seed=3)
    cached = TrainingPages(pages, augment(), prepared, seed=3, cache=cache)
    for _ in range(2):
        assert_equal(collate([plain[0, 0]]), collate([cached[0, 0]]))
    one, other = plain[0, 0].image, dataset(pages)[0, 0].image
    assert one is not None
    assert other is not None
    assert not torch.equal(one, other)
    cache.read(pages[0].path, PREPROCESS, 1)
    assert len(list((tmp_path / "cache").glob("*.page"))) == 2


def test_words_of_a_long_receipt_are_learnt_at_the_default_size(tmp_path: Path) -> None:
    """24 px high on 600 x 10,000, which is about 3 px at a longest side of 1,280."""
    config = TrainConfig()
    box = np.array([[40, 0], [300, 0], [300, 24], [40, 24]], np.float32)
    words = [Word(str(y), box + np.float32([0, y]), None, False) for y in range(50, 9900, 60)]
    page = Page("a", tmp_path / "a.png", 600, 10_000, tuple(words))
    Image.new("L", (600, 10_000), 255).save(page.path)
    prepared = make_preprocess(config, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    sides = (prepared.longest_side_px, prepared.shortest_side_px)
    crops = Augment(
        longest_side_px=sides[0], shortest_side_px=sides[1], **config.augment.model_dump()
    )
    pages = TrainingPages((page,), crops, prepared, seed=1, **config.targets.model_dump())
    maps = maps_of(pages[0, 0])
    assert maps["shrink"].sum() > 0
    assert maps["shrink_mask"][maps["shrink"] > 0].all()
