"""The picture of one page, and the worked example of the documentation."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from detector.metrics.cleval import PageMatch, read_words
from detector.metrics.explain import detection_kinds
from detector.metrics.picture import COLOURS, WORD, draw_page

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
Polygon = list[list[float]]


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


PAGE = yaml.safe_load(Path(__file__).with_name("one_of_each.yaml").read_text(encoding="utf-8"))
WORDS = [box(*sides) for sides in PAGE["words"]]
FOUND = [box(*sides) for sides in PAGE["found"]]
KINDS = PAGE["kinds"]


def matched(found: list[Any] | None = None) -> PageMatch:
    ignore = [i == 5 for i in range(len(WORDS))]
    words = read_words("competition", WORDS, ["abc"] * len(WORDS), ignore)
    return words.match(FOUND if found is None else found)


def empty() -> PageMatch:
    return read_words("competition", [], [], []).match([])


def share_of(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture.astype(int) - colour).max(axis=2) <= 30).sum())


@pytest.mark.parametrize(("index", "kind"), enumerate(KINDS))
def test_detections_have_the_colour_of_their_kind(index: int, kind: Any) -> None:
    picture = draw_page(matched(), FOUND, scale=2)
    (left, _), _, (right, bottom) = FOUND[index][:3]
    x, y = round(left + right), round(2 * bottom)  # the middle of the lower edge
    assert np.abs(picture[y, x].astype(int) - COLOURS[kind]).max() <= 30


def test_found_centres_are_filled_and_missed_ones_hollow() -> None:
    picture = draw_page(matched(), FOUND, scale=2)
    found, missed = picture[2 * 40, 2 * 29], picture[2 * 100, 2 * 189]  # first of five
    assert np.abs(found.astype(int) - WORD).max() <= 30
    assert missed.min() >= 225


def test_ignored_words_have_no_centres() -> None:
    picture = draw_page(matched(found=[]), [], scale=2)
    inside = picture[2 * 153 : 2 * 167, 2 * 25 : 2 * 105].reshape(-1, 3)
    assert (np.ptp(inside, axis=0) == 0).all()
    assert np.ptp(inside[0].astype(int)) <= 2  # grey


def test_only_words_that_cost_are_labelled_unless_all_are_asked_for() -> None:
    few, all_ = (draw_page(matched(), FOUND, scale=2, label_all=a) for a in (False, True))
    changed = (few != all_).any(axis=2)
    labelled = []
    for word in WORDS[:6]:
        x, y = (round(2 * corner) for corner in word[0])
        labelled.append(bool(changed[y - 26 : y - 4, x : x + 36].any()))
    assert labelled == [True, False, True, True, False, True]


def test_the_caption_tells_the_scores() -> None:
    whole, part = matched(), matched(found=FOUND[:1])
    a, b = draw_page(whole, FOUND), draw_page(part, FOUND[:1])
    assert a.shape == b.shape
    assert (a[-20:] != b[-20:]).any()


def test_the_page_shows_paler_under_the_marks_and_is_not_changed() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    picture = draw_page(matched(), FOUND, image)
    assert not image.any()
    assert picture.dtype == np.uint8
    assert (picture[195, 290] == 102).all()  # 255 * 0.4
    assert picture.shape[1:] == (300, 3)
    assert picture.shape[0] > 200


@pytest.mark.parametrize(("scale", "size"), [(0.5, (150, 100)), (1, (300, 200)), (2.5, (750, 500))])
def test_scale_resizes_the_page_and_the_shapes(scale: float, size: tuple[int, int]) -> None:
    image = np.full((200, 300, 3), 255, np.uint8)
    picture = draw_page(matched(), FOUND, image, scale=scale)
    assert picture.shape[1] == size[0]
    page = picture[: size[1]]
    false = np.abs(page.astype(int) - COLOURS["false"]).max(axis=2) <= 40
    columns = np.flatnonzero(false.any(axis=0)) / scale
    assert columns.min() == pytest.approx(180, abs=4 / scale)
    assert columns.max() == pytest.approx(230, abs=4 / scale)


def test_without_an_image_the_paper_reaches_as_far_as_the_shapes() -> None:
    picture = draw_page(matched(found=[box(500, 300, 560, 320)]), [box(500, 300, 560, 320)])
    assert picture.shape[1] == 590
    assert share_of(picture[300:325, 495:565], COLOURS["false"]) > 100


def test_nothing_to_draw() -> None:
    picture = draw_page(empty(), [])
    assert picture.ndim == 3
    assert (picture[:60] >= 250).all()
    assert draw_page(empty(), [], np.zeros((1, 1, 3), np.uint8)).shape[1] == 1


def test_outlines_that_cannot_be_drawn_are_left_out() -> None:
    bad: list[Any] = [
        [[0, 0], [np.nan, 3], [3, 3], [0, 3]],
        [],
        [[5, 5]],
        [[0, 0], [2**40, 1], [3, 3]],
    ]
    far = box(2.0**30, 0, 2.0**30 + 50, 20)
    picture = draw_page(matched(found=[*bad, far]), [*bad, far])
    assert max(picture.shape) <= 2**13 + 2000
    assert detection_kinds(matched(found=bad)) == ["false"] * 4


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="need the 6 that were matched, got 1"):
        draw_page(matched(), FOUND[:1])
    for scale in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="scale: must be above 0"):
            draw_page(matched(), FOUND, scale=scale)


def test_colours_differ_for_the_colour_blind() -> None:
    # in blue against yellow or in lightness, which every kind of colour blindness keeps
    kinds = list(COLOURS.values())
    lab = cv2.cvtColor(np.array([kinds], np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
    for i in range(len(kinds)):
        for j in range(i):
            apart = np.abs(lab[i] - lab[j])
            assert max(apart[0], apart[2]) > 9, (kinds[i], kinds[j])


# ---- the worked example of the documentation --------------------------------------------


def test_the_worked_example_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = DOCS.read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    shown = re.search(r"```text\n(.*?)```", text, re.DOTALL)
    assert code is not None
    assert shown is not None
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    page: dict[str, Any] = {}
    with contextlib.redirect_stdout(printed):
        exec(compile(code[1], str(DOCS), "exec"), page)
    assert printed.getvalue() == shown[1]
    official = read_words("official", page["words"], page["texts"], page["ignore"])
    assert official.match(page["found"]).counts()[0].scores()[:2] == (26 / 39, 26 / 29)
    made = cv2.imread(str(tmp_path / "docs" / "metrics_page.png"))
    stored = cv2.imread(str(DOCS.with_name("metrics_page.png")))
    assert made is not None
    assert stored is not None
    assert made.shape == stored.shape
