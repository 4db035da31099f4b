from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from crop_samples import PREPROCESS, STILL, assert_equal, augment
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from detector.data.crops.batch import collate
from detector.data.crops.dataset import TrainingPages
from detector.data.crops.loader import training_batches
from detector.data.crops.paste import MOST_WORDS, paste_words
from detector.data.crops.targets import make_targets
from detector.data.labels.annotations import Page, Word

SEEDS = st.integers(0, 2**31)
Points = NDArray[np.float32]


def box(x: float, y: float, width: float, height: float, degrees: float = 0.0) -> Points:
    middle = (x + width / 2, y + height / 2)
    return cv2.boxPoints((middle, (width, height), degrees)).astype(np.float32)


PAGE = box(-0.5, -0.5, 256, 256)


def sheet(*words: Points, ink: int = 20, paper: int = 230, side: int = 256) -> NDArray[np.uint8]:
    """A page on which each word is a bar of ink, a third of its height in from its outline."""
    image = np.full((side, side, 3), paper, np.uint8)
    for word in words:
        (middle, (width, height), degrees) = cv2.minAreaRect(word)
        inner = min(width, height) * 0.6
        bar = cv2.boxPoints((middle, (width - inner, height - inner), degrees))
        cv2.fillPoly(image, [bar.round().astype(np.int32)], (ink, ink, ink))
    return image


def paste(image, words, seed=0, ignore=None, page=PAGE):
    flags = ignore or [False] * len(words)
    return paste_words(image, words, flags, page, np.random.default_rng(seed))


def covered(polygon: Points, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [polygon.round().astype(np.int32)], 1)
    return mask > 0


@given(seed=SEEDS)
@examples(40)
def test_a_word_pasted_is_a_word_of_the_page_and_shows_as_one(seed: int) -> None:
    words = [box(20, 30, 60, 16), box(120, 40, 40, 14, 8.0)]
    image = sheet(*words)
    found, added = paste(image, words, seed)
    assert 0 < len(added) <= MOST_WORDS
    for outline in added:
        moves = [outline - word for word in words]
        (index,) = [i for i, move in enumerate(moves) if np.ptp(move, axis=0).max() < 1e-3]
        dx, dy = moves[index][0].round().astype(int)
        np.testing.assert_allclose(moves[index][0], [dx, dy], atol=1e-3)
        x0, y0 = words[index].min(axis=0).astype(int)
        x1, y1 = words[index].max(axis=0).astype(int) + 1
        was, now = image[y0:y1, x0:x1], found[y0 + dy : y1 + dy, x0 + dx : x1 + dx]
        np.testing.assert_allclose(now, was, atol=1)  # both papers have one colour


@given(seed=SEEDS)
@examples(40)
def test_only_what_is_labelled_changes_and_nothing_meets(seed: int) -> None:
    words = [box(20, 30, 60, 16), box(120, 40, 40, 14, 8.0), box(60, 150, 90, 20)]
    image, ignore = sheet(*words), [False, False, True]
    kept = image.copy()
    found, added = paste(image, words, seed, ignore)
    np.testing.assert_array_equal(image, kept)
    allowed = np.zeros(image.shape[:2], bool)
    for outline in added:
        assert any(np.allclose(outline - outline[0], word - word[0]) for word in words[:2])
        allowed |= covered(outline, image.shape)
    near = cv2.dilate(allowed.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert not ((found != image).any(axis=2) & ~near).any()
    # Grown by the distance that a label's border reaches, no two words share a pixel.
    crowd = np.zeros(image.shape[:2], int)
    for outline in [*words, *added]:
        grown = cv2.dilate(covered(outline, image.shape).astype(np.uint8), np.ones((7, 7)))
        crowd += grown
    assert crowd.max() == 1
    targets = make_targets([*words, *added], [*ignore, *[False] * len(added)], 256, 256)
    kernels = cv2.connectedComponents(targets.shrink, connectivity=8)[0] - 1
    assert kernels == 2 + len(added)


@pytest.mark.parametrize(
    ("words", "ignore"),
    [
        ([], []),
        ([box(20, 30, 60, 16)], [True]),
        ([box(-20, 30, 60, 16)], [False]),  # partly outside the crop
        ([box(20, 30, 0, 0)], [False]),
        ([np.zeros((0, 2), np.float32)], [False]),
    ],
    ids=["none", "ignored", "cut", "point", "empty"],
)
def test_a_crop_without_a_whole_word_stays(words: list[Points], ignore: list[bool]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    found, added = paste(image, words, ignore=ignore)
    np.testing.assert_array_equal(found, image)
    assert added == []


def test_a_word_that_nobody_sees_is_not_pasted() -> None:
    words = [box(20, 30, 60, 16)]
    assert paste(np.full((256, 256, 3), 230, np.uint8), words)[1] == []


@pytest.mark.parametrize("side", [32, 64])
def test_tiny_crops_are_taken(side: int) -> None:
    word = box(4, 4, 16, 8)
    found, added = paste(sheet(word, side=side), [word], page=box(-0.5, -0.5, side, side))
    assert found.shape == (side, side, 3)
    for outline in added:
        assert (outline >= 0).all()
        assert (outline <= side - 1).all()


@given(seed=SEEDS)
@examples(20)
def test_no_word_lies_outside_the_page_or_on_other_paper(seed: int) -> None:
    """The left half is the page; of that the lower half is another sheet."""
    words = [box(10, 20, 50, 14)]
    image = sheet(*words)
    image[128:, :128] = 90
    _, added = paste(image, words, seed, page=box(-0.5, -0.5, 128, 256))
    for outline in added:
        assert outline[:, 0].max() < 128
        assert outline[:, 1].max() < 128


@given(seed=SEEDS)
@examples(20)
def test_no_word_lies_on_print_without_a_label(seed: int) -> None:
    words = [box(10, 10, 50, 14)]
    image = sheet(*words)
    printed = np.random.default_rng(seed).integers(0, 2, (192, 256), dtype=np.uint8)
    image[64:] = np.where(printed > 0, 230, 20)[..., None]
    for outline in paste(image, words, seed)[1]:
        assert outline[:, 1].max() < 64


def test_the_shade_of_its_place_shows_through() -> None:
    words = [box(20, 30, 60, 16)]
    shaded = (sheet(*words) * np.linspace(1, 0.85, 256)[:, None, None]).astype(np.uint8)
    found, added = paste(shaded, words, seed=3)
    lowest = max(added, key=lambda outline: outline[:, 1].mean())
    x, y = lowest.min(axis=0).astype(int)
    assert y > 120
    assert abs(int(found[y - 1, x + 30, 0]) - int(shaded[y - 1, x + 30, 0])) <= 3


def pages_with_paste(pages: tuple[Page, ...], share: float, **changes: float) -> TrainingPages:
    return TrainingPages(pages, augment(paste=share, **changes), PREPROCESS, seed=3)


def test_other_choices_stay_as_they_are() -> None:
    """With and without words pasted a crop shows the same part in the same colours."""
    image = np.full((128, 160, 3), 220, np.uint8)
    words = [box(30, 30, 40, 12)]
    plain, pasting = augment(), augment(paste=1.0, noise=0.0)
    for seed in range(5):
        one = plain(image, words, np.random.default_rng(seed))
        other = pasting(image, words, np.random.default_rng(seed))
        np.testing.assert_array_equal(one[2], other[2])
        np.testing.assert_array_equal(one[1][0], other[1][0])


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[Page, ...]:
    """Three pages of 160 x 160 px with two words each, and room for more."""
    pages = []
    for number in range(3):
        words = [box(20, 15 + 40 * number, 40, 12), box(90, 20, 50, 10)]
        path = tmp_path / f"{number}.png"
        Image.fromarray(sheet(*words, side=160)).save(path)
        labelled = tuple(Word(str(i), word, None, False) for i, word in enumerate(words))
        pages.append(Page(path.name, path, 160, 160, labelled))
    return tuple(pages)


def test_labels_grow_by_what_is_pasted(drawn: tuple[Page, ...]) -> None:
    still = replace(STILL, paste=1.0)
    plain, pasting = (TrainingPages(drawn, a, PREPROCESS, seed=3) for a in (STILL, still))
    grown = 0
    for epoch in range(6):
        for i in range(len(drawn)):
            (before, maps), (after, more) = plain.crop(epoch, i), pasting.crop(epoch, i)
            assert (more.shrink >= maps.shrink).all()
            new = cv2.connectedComponents(more.shrink - maps.shrink)[0] - 1
            assert (new > 0) == (not np.array_equal(before, after))
            grown += new
    assert grown > 0
    blank = (replace(drawn[0], words=()),)
    ignored = tuple(replace(word, ignore=True) for word in drawn[0].words)
    for others in (blank, (replace(drawn[0], words=ignored),)):
        assert_equal(
            collate([pages_with_paste(others, 1.0)[0, 0]]),
            collate([pages_with_paste(others, 0.0)[0, 0]]),
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_crops_are_the_same_in_any_number_of_loader_processes(
    drawn: tuple[Page, ...], workers: int
) -> None:
    everything = {"shadow": 0.5, "blur": 0.5, "noise": 0.5, "gamma": 0.3, "jpeg": 0.5}
    samples = pages_with_paste(drawn, 0.5, **everything)
    given_by = [
        list(
            training_batches(
                *(samples,), batch_size=2, workers=n, epochs=range(2), seed=3, pin_memory=False
            )
        )
        for n in (0, workers)
    ]
    for one, other in zip(*given_by, strict=True):
        assert_equal(one, other)
