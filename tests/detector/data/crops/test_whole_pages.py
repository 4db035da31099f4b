from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from crop_samples import PREPROCESS

from detector.data.crops.whole_pages import WholePages, in_batches, whole_page_loader
from detector.data.labels.annotations import Page, read_image


@pytest.mark.parametrize("workers", [0, 2])
def test_whole_pages(pages: tuple[Page, ...], broken: Page, workers: int) -> None:
    paths = [pages[0].path, broken.path, pages[1].path]
    loader = whole_page_loader(
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


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "gone.jpg" in WholePages([tmp_path / "gone.jpg"], PREPROCESS)[0].error


def test_a_dataset_travels_to_loader_processes(pages: tuple[Page, ...]) -> None:
    whole = WholePages([page.path for page in pages], PREPROCESS)
    one, other = pickle.loads(pickle.dumps(whole))[0].page, whole[0].page
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.image, other.image)
