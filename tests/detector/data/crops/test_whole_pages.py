from __future__ import annotations

import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from crop_samples import PREPROCESS

from detector.core.errors import InputError
from detector.data.crops import whole_pages as module
from detector.data.crops.whole_pages import WholePages, in_batches, whole_pages
from detector.data.labels.annotations import Page, read_image
from detector.data.page.cache import PageCache
from detector.data.page.prepare import Preparation
from detector.data.page.preprocess import Preprocess


@pytest.mark.parametrize("workers", [0, 2])
def test_whole_pages(pages: tuple[Page, ...], broken: Page, workers: int) -> None:
    paths = [pages[0].path, broken.path, pages[1].path]
    loader = whole_pages(
        paths, PREPROCESS, workers=workers, batches=in_batches(range(len(paths)), 2)
    )
    (_, torn), (last,) = loader
    image, affine = PREPROCESS.resize(read_image(pages[1].path))
    assert (last.index, last.error) == (2, "")
    assert last.page is not None
    np.testing.assert_array_equal(last.page.image, image)
    np.testing.assert_array_equal(last.page.affine, affine)
    assert last.page.size == (pages[1].width, pages[1].height)
    assert (torn.index, torn.page) == (1, None)
    assert "torn.jpg" in torn.error


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("preprocess", [PREPROCESS, replace(PREPROCESS, crop_margin=0.1)])
def test_a_cache_changes_no_bit(
    pages: tuple[Page, ...], broken: Page, tmp_path: Path, workers: int, preprocess: Preprocess
) -> None:
    paths = [pages[0].path, broken.path, pages[1].path]
    cache = PageCache(tmp_path / "cache", 10**9)
    load = partial(whole_pages, paths, preprocess, workers=workers, batches=in_batches(range(3), 1))
    for _ in range(2):
        plain, cached = load(), load(cache=cache)
        for (one,), (other,) in zip(plain, cached, strict=True):
            assert (one.index, one.error, one.page is None) == (
                other.index,
                other.error,
                other.page is None,
            )
            if one.page is not None and other.page is not None:
                np.testing.assert_array_equal(one.page.image, other.page.image)
                np.testing.assert_array_equal(one.page.affine, other.page.affine)
                assert one.page.size == other.page.size
    assert len(list((tmp_path / "cache").glob("*.page"))) == 2


def test_what_a_cache_has_is_read_here_and_the_rest_by_processes(
    pages: tuple[Page, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [pages[0].path, pages[1].path]
    cache = PageCache(tmp_path / "cache", 10**9)
    asked: list[list[int]] = []
    loader = module._loader

    def counted(whole: WholePages, batches: list[list[int]], workers: int) -> object:
        asked.extend(list(batch) for batch in batches)
        return loader(whole, batches, workers)

    monkeypatch.setattr(module, "_loader", counted)
    read = partial(whole_pages, paths, PREPROCESS, workers=0, cache=cache)
    list(read(batches=[[1]]))
    assert asked == [[1]]
    found = list(read(batches=[[1], [0]]))
    assert asked == [[1], [0]]
    assert [page.index for batch in found for page in batch] == [1, 0]
    assert [page.index for page in next(read(batches=[[0, 1]]))] == [0, 1]
    assert asked == [[1], [0]]


@pytest.mark.parametrize("workers", [0, 1])
def test_pages_draw_nothing_from_the_state_of_a_training(
    pages: tuple[Page, ...], workers: int
) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    list(whole_pages([pages[0].path], PREPROCESS, workers=workers, batches=[[0]]))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_missing_model_is_no_fault_of_a_page(pages: tuple[Page, ...], tmp_path: Path) -> None:
    gone = Preparation(background="rembg", background_model=str(tmp_path / "gone.onnx"))
    cache = PageCache(tmp_path / "cache", 10**9)
    with pytest.raises(InputError, match=r"background_model: no such file .*gone\.onnx"):
        WholePages([pages[0].path], replace(PREPROCESS, preparation=gone), cache)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "gone.jpg" in WholePages([tmp_path / "gone.jpg"], PREPROCESS)[0].error


def test_a_dataset_travels_to_loader_processes(pages: tuple[Page, ...]) -> None:
    whole = WholePages([page.path for page in pages], PREPROCESS)
    one, other = pickle.loads(pickle.dumps(whole))[0].page, whole[0].page
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.image, other.image)
