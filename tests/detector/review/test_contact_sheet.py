from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detector.core.errors import InputError
from detector.data.labels.exclusion import Suspicion
from detector.data.labels.pages import Page, Word
from detector.review.contact_sheet import MOST, SHEETS, crop_word, draw_sheets

COLOUR = (213, 94, 0)
POINTS = np.array([[40, 40], [100, 40], [100, 60], [40, 60]], np.float32)


def page_of(folder: Path, words: int = 1) -> Page:
    path = folder / "a.png"
    Image.new("RGB", (200, 100), (250, 250, 250)).save(path)
    kept = tuple(Word(str(i), POINTS, None, False) for i in range(words))
    return Page("a.png", path, 200, 100, kept)


def test_crop_shows_the_outline_around_the_word() -> None:
    image = np.full((100, 200, 3), 250, np.uint8)
    image[40:60, 40:100] = 10
    crop = crop_word(image, POINTS, COLOUR)
    # The window of 144 x 104 px (the word and 42 px around) is widened to the crop's shape,
    # its scale is 130 / 104, so the word of 60 x 20 px has 75 x 25 px in the middle.
    assert crop.shape == (130, 300, 3)
    assert crop[65, 150].tolist() == [10, 10, 10]
    marked = np.argwhere((np.abs(crop.astype(int) - COLOUR).sum(axis=2)) < 30)
    low, high = marked.min(axis=0), marked.max(axis=0)
    assert (high - low).tolist() == pytest.approx([25, 75], abs=3)
    assert ((low + high) / 2).tolist() == pytest.approx([65, 150], abs=2)


def test_beyond_the_page_is_grey() -> None:
    crop = crop_word(np.full((100, 200, 3), 250, np.uint8), POINTS - 35, COLOUR)
    assert crop[2, 2].tolist() == [200, 200, 200]


def test_sheet_has_the_highest_scores_first(tmp_path: Path) -> None:
    page = page_of(tmp_path, words=2)
    low = Suspicion("a.png", "0", "blank", 0.6, "pale")
    high = Suspicion("a.png", "1", "duplicate", 0.9, "twice")
    (both,) = draw_sheets([(page, low), (page, high)])
    (swapped,) = draw_sheets([(page, high), (page, low)])
    np.testing.assert_array_equal(both, swapped)
    crops = both[:180]
    blue = np.abs(crops.astype(int) - (0, 114, 178)).sum(axis=2) < 30
    orange = np.abs(crops.astype(int) - COLOUR).sum(axis=2) < 30
    assert np.argwhere(blue)[:, 1].max() < np.argwhere(orange)[:, 1].min()


def test_all_words_are_on_sheets_of_so_many_each(tmp_path: Path) -> None:
    page = page_of(tmp_path, words=MOST + 7)
    doubts = [Suspicion("a.png", word.id, "tiny", 0.5, "x" * 200) for word in page.words]
    (one,) = draw_sheets([(page, d) for d in doubts[:MOST]])
    full, rest = draw_sheets([(page, d) for d in doubts])
    assert full.shape == one.shape
    (none,) = draw_sheets([])
    (two_rows,) = draw_sheets([(page, d) for d in doubts[:7]])
    assert none.shape[0] < rest.shape[0] == two_rows.shape[0]
    assert not np.array_equal(rest, two_rows)  # its ranks go on


def test_nobody_looks_through_more_than_so_many_sheets(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    doubt = Suspicion("a.png", "0", "tiny", 0.5, "")
    assert sum(1 for _ in draw_sheets([(page, doubt)] * (MOST * SHEETS + 1))) == SHEETS


def test_image_gone(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    page.path.unlink()
    with pytest.raises(InputError, match="no such file"):
        list(draw_sheets([(page, Suspicion("a.png", "0", "blank", 1.0, ""))]))
