from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detector.data.labels.pages import Page, Word
from detector.review.statistics_picture import aspect_ratio, density, draw_statistics

LEFT_HALF = np.array([[0, 0], [100, 0], [100, 80], [0, 80]], np.float32)


def page(*outlines: np.ndarray) -> Page:
    words = tuple(Word(str(i), o, None, False) for i, o in enumerate(outlines))
    return Page("a.jpg", Path("a.jpg"), 200, 80, words)


def test_density_counts_words_at_each_place_of_the_average_page() -> None:
    beyond = LEFT_HALF + np.array([1000, 0], np.float32)
    found = density([page(LEFT_HALF, LEFT_HALF), page(beyond), page()])
    assert found.shape == (128, 128)
    # Two words on one page of three; the outline's own cells may go either way.
    assert found[:, :63] == pytest.approx(2 / 3)
    assert found[:, 66:].max() == 0
    assert density([]).max() == 0


def test_aspect_ratio_does_not_depend_on_direction() -> None:
    assert aspect_ratio(LEFT_HALF) == pytest.approx(1.25)
    assert aspect_ratio(LEFT_HALF[:, ::-1].copy()) == pytest.approx(1.25)
    assert aspect_ratio(LEFT_HALF * np.array([1, 0.001], np.float32)) == pytest.approx(100)


def test_two_rows_of_panels_for_each_split(tmp_path: Path) -> None:
    odd = Word("1", LEFT_HALF, None, False, ("ko", "$x_$", "한국어"), "Horizontal")
    pages = [Page("a.jpg", Path("a.jpg"), 200, 80, (odd,))]
    sizes = []
    for name, splits in (("one", {"train": pages}), ("two", {"train": pages, "test": []})):
        draw_statistics(tmp_path / f"{name}.png", splits, 1024)
        with Image.open(tmp_path / f"{name}.png") as picture:
            sizes.append(picture.size)
    assert sizes[0][0] == sizes[1][0]
    assert sizes[1][1] == 2 * sizes[0][1]
