from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from detector.data.labels.exclusion import Suspicion
from detector.data.labels.pages import Page, Word, fault
from detector.review.cleaning import Limits, outline_doubts, paper_hull, suspicious_words

WIDTH, HEIGHT = 400, 300
Box = tuple[float, float, float, float]
Image = NDArray[np.uint8]


def word(name: str, *corners: float, text: str | None = "a", ignore: bool = False) -> Word:
    x1, y1, x2, y2 = corners
    points = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)
    return Word(name, points, text, ignore)


def printed(image: Image, corners: Box, level: int = 30) -> None:
    """Strokes of 2 px with gaps of 4 px, from edge to edge of a box."""
    x1, y1, x2, y2 = map(int, corners)
    for x in range(x1 + 1, x2 - 2, 6):
        image[y1 + 1 : y2 - 1, x : x + 2] = level


def lines(image: Image, left: int = 40, level: int = 30) -> list[Word]:
    """Ten printed words of 60 x 14 px in two columns, ids w0 to w9."""
    corners = [(left + 100 * (i % 2), 40 + 30 * (i // 2)) for i in range(10)]
    words = []
    for i, (x, y) in enumerate(corners):
        printed(image, (x, y, x + 60, y + 14), level)
        words.append(word(f"w{i}", x, y, x + 60, y + 14))
    return words


@pytest.fixture
def image() -> Image:
    """Paper of grey level 235 with noise of 3 levels."""
    noise = np.random.default_rng(0).normal(235, 3, (HEIGHT, WIDTH, 1))
    return np.repeat(noise, 3, axis=2).clip(0, 255).astype(np.uint8)


def found(image: Image, words: list[Word], **options: Any) -> list[tuple[str, str]]:
    page = Page("a.jpg", Path("a.jpg"), WIDTH, HEIGHT, tuple(words))
    return [(s.word, s.kind) for s in suspicious_words(page, image, WIDTH, **options)]


class TestBlank:
    def test_printed_words_raise_no_doubt_and_empty_paper_does(self, image: Image) -> None:
        words = lines(image)
        assert found(image, words) == []
        assert found(image, [*words, word("e", 260, 200, 320, 214)]) == [("e", "blank")]

    def test_shadows_and_folds_are_not_ink(self, image: Image) -> None:
        words = [*lines(image), word("e", 260, 200, 320, 214)]
        shade = np.linspace(1, 0.5, WIDTH)[None, :, None]
        assert found((image * shade).astype(np.uint8), words) == [("e", "blank")]

    def test_ink_of_a_neighbouring_line_does_not_fill_an_empty_box(self, image: Image) -> None:
        words = lines(image)
        printed(image, (260, 186, 320, 200))
        image[200, 260:320] = 30  # an underline, a fifteenth of the box below
        assert found(image, [*words, word("e", 260, 200, 320, 214)]) == [("e", "blank")]

    def test_pale_print_and_white_on_black_are_ink(self, image: Image) -> None:
        words = lines(image)
        printed(image, (260, 40, 320, 54), level=190)
        image[100:124, 255:325] = 30
        printed(image, (260, 105, 320, 119), level=235)
        new = [word("pale", 260, 40, 320, 54), word("white", 260, 105, 320, 119)]
        assert found(image, words + new) == []

    def test_page_of_empty_boxes_only(self, image: Image) -> None:
        words = [word("e", 40, 40, 100, 54), word("f", 40, 80, 100, 94)]
        assert found(image, words) == [("e", "blank"), ("f", "blank")]
        assert found(image, []) == []

    def test_dont_care_words_are_not_doubted(self, image: Image) -> None:
        words = lines(image)
        assert found(image, [*words, word("e", 260, 200, 320, 214, ignore=True)]) == []


class TestOutlines:
    def test_duplicates(self, image: Image) -> None:
        words = lines(image)
        near = word("near", 41, 40, 101, 54)  # 59 / 61 with w0
        half = word("half", 170, 40, 230, 54)  # 30 / 90 with w1
        assert found(image, [*words, near, half]) == [("near", "duplicate")]
        # The one that says what it reads is kept.
        words[0] = word("w0", 40, 40, 100, 54, text=None)
        assert found(image, [*words, near]) == [("w0", "duplicate")]
        dont_care = word("near", 41, 40, 101, 54, ignore=True)
        assert found(image, [*words, dont_care]) == []

    def test_reason_and_score_of_a_duplicate(self, image: Image) -> None:
        page = Page(
            "a.jpg", Path("a.jpg"), WIDTH, HEIGHT, (*lines(image), word("n", 46, 40, 106, 54))
        )
        (doubt,) = suspicious_words(page, image, WIDTH)
        # IoU 54 / 66 = 0.818; half of (1 - IoU) / 0.2 is taken from 1.
        assert doubt == Suspicion("a.jpg", "n", "duplicate", 0.545, "IoU 0.82 with word w0")

    def test_tiny_is_judged_at_training_scale(self, image: Image) -> None:
        words = lines(image)
        printed(image, (260, 40, 320, 45))
        words.append(word("t", 260, 40, 320, 45))
        page = Page("a.jpg", Path("a.jpg"), WIDTH, HEIGHT, tuple(words))
        assert suspicious_words(page, image, WIDTH) == []
        (doubt,) = suspicious_words(page, image, WIDTH // 2)
        assert (doubt.word, doubt.kind) == ("t", "tiny")
        assert doubt.reason == "2.5 px thick at training scale, under 3"
        assert found(image, words, limits=Limits(tiny_px=6)) == [("t", "tiny")]

    def test_repaired_outlines_are_doubted(self) -> None:
        faults = [
            fault("a.jpg", "1", "self-crossing", "x"),
            fault("a.jpg", "2", "tangled", "x"),
            fault("a.jpg", "3", "few-points", "x"),
        ]
        doubts = [(s.page, s.word, s.kind) for s in outline_doubts(faults)]
        assert doubts == [("a.jpg", "1", "swapped-vertices"), ("a.jpg", "2", "self-crossing")]


class TestWatermark:
    @pytest.mark.parametrize(("level", "kinds"), [(190, [("big", "watermark")]), (30, [])])
    def test_large_and_pale_but_not_large_and_black(
        self, image: Image, level: int, kinds: list[tuple[str, str]]
    ) -> None:
        words = lines(image)
        for x in range(244, 376, 24):
            image[200:270, x : x + 8] = level
        assert found(image, [*words, word("big", 240, 195, 380, 275)]) == kinds

    def test_print_under_a_watermark_does_not_count_for_it(self, image: Image) -> None:
        words = lines(image)
        for x in range(30, 240, 24):
            image[40:110, x : x + 8] = np.minimum(image[40:110, x : x + 8], 190)
        big = word("big", 25, 35, 245, 115)
        assert found(image, [*words, big]) == [("big", "watermark")]


class TestPaper:
    def table(self, image: Image) -> Image:
        """The paper lies at x 20 to 240 on a dark table."""
        image[:, :20] = 60
        image[:, 240:] = 60
        return image

    def test_words_on_the_table_are_doubted(self, image: Image) -> None:
        words = lines(self.table(image))
        printed(image, (300, 100, 360, 114), level=200)
        edge = word("edge", 205, 40, 260, 54)
        printed(image, (205, 40, 260, 54))
        out = word("out", 300, 100, 360, 114)
        assert found(image, [*words, out, edge]) == [("out", "off-paper")]

    def test_an_estimate_that_leaves_many_words_out_is_not_trusted(self, image: Image) -> None:
        words = lines(self.table(image))
        for i in range(3):
            corners = (300, 100 + 30 * i, 360, 114 + 30 * i)
            printed(image, corners, level=200)
            words.append(word(f"o{i}", *corners))
        assert found(image, words) == []

    def test_hull(self, image: Image) -> None:
        assert paper_hull(image) is None
        assert paper_hull(np.full((HEIGHT, WIDTH, 3), 255, np.uint8)) is None
        hull = paper_hull(self.table(image))
        assert hull is not None
        x, y, width, height = cv2.boundingRect(hull)
        assert (x, x + width) == pytest.approx((20, 240), abs=4)
        assert (y, y + height) == pytest.approx((0, HEIGHT), abs=4)
