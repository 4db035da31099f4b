from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detector.config.postprocess import Grid
from detector.config.settings import PostprocessConfig, SweepConfig
from detector.core.geometry import exact_distance
from detector.data.labels.pages import Page, Word
from detector.postprocess.maps import PageMap
from detector.postprocess.rounds import Rounds, sweep_in_rounds
from detector.postprocess.sweep import around, sweep

BASE = PostprocessConfig()
SIZE = (200, 200)  # width and height


def planted(page: int, thresh: float, box_thresh: float) -> tuple[PageMap, Page]:
    """A page whose words come out right around these settings alone.

    Pairs of words hang together just below `thresh`, and a weak letter just above it cuts each of
    them; what is no word is a little paler than `box_thresh`, and the words a little darker.
    """
    p, words = np.zeros(SIZE[::-1], np.float32), []
    grown = float(exact_distance(40 * 8, 2 * 48, 0.4))
    for row in range(4):
        top = 20 + 45 * row + page % 3
        p[top + 2 : top + 7, 70:105] = thresh - 0.02
        for left in (30, 105):
            p[top : top + 9, left : left + 41] = box_thresh + 0.02 * (1 + row % 2)
            p[top : top + 9, left + 18 : left + 20 + page % 2] = thresh + 0.02
            low, high = np.array([left, top]) - grown, np.array([left + 40, top + 8]) + grown
            corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]], np.float32)
            words.append(Word(f"{row}{left}", corners, "letters", False))
        p[top : top + 8, 165:185] = box_thresh - 0.02
    name = f"{page}.jpg"
    return PageMap(name, p, np.eye(2, 3), SIZE), Page(name, Path(name), *SIZE, tuple(words))


def swept_in_rounds(*best: float, **changes: object) -> tuple[Rounds, list[str]]:
    maps, pages = zip(*(planted(page, *best) for page in range(4)), strict=True)
    lines: list[str] = []
    given = Grid.model_validate(changes)
    found = sweep_in_rounds(maps, pages, BASE, given.tried(), own=given.own(), log=lines.append)
    return found, lines


def test_a_planted_optimum_is_found_by_the_sweep_of_a_training():
    maps, pages = zip(*(planted(page, 0.15, 0.25) for page in range(4)), strict=True)
    swept = sweep(maps, pages, around(BASE, SweepConfig().tried()))
    chosen = swept.settings[swept.best()]
    assert (chosen.thresh, chosen.box_thresh) == (0.15, 0.25)
    assert swept.scores(swept.best()).hmean == pytest.approx(1, abs=1e-6)


def test_a_planted_optimum_between_the_values_is_found_in_rounds():
    found, _ = swept_in_rounds(0.15, 0.25)
    chosen = found.swept.settings[found.swept.best()]
    assert chosen.thresh == 0.15
    assert 0.23 < chosen.box_thresh <= 0.27
    assert found.swept.scores(found.swept.best()).hmean == pytest.approx(1, abs=1e-6)
    assert found.edges == {}


def test_an_optimum_beyond_the_ends_is_followed_and_said():
    found, lines = swept_in_rounds(0.05, 0.25)
    chosen = found.swept.settings[found.swept.best()]
    assert chosen.thresh == 0.05
    assert found.swept.scores(found.swept.best()).hmean == pytest.approx(1, abs=1e-6)
    assert 0.05 in found.extended["thresh"]
    assert found.edges["thresh"] == 0.05  # where its ladder ends
    assert any("at an end of what was tried (thresh=0.1" in line for line in lines)


def test_values_that_were_given_are_all_that_is_tried():
    found, _ = swept_in_rounds(0.05, 0.25, thresh=(0.2, 0.1), box_thresh=(0.2, 0.3))
    settings = found.swept.settings[1:]
    assert {s.thresh for s in settings} == {0.1, 0.2}
    assert {s.box_thresh for s in settings} == {0.2, 0.3}
    assert found.extended.keys() <= {"unclip_ratio"}


def test_polygons_grow_by_a_ratio_at_the_best_thresh_alone():
    found, _ = swept_in_rounds(0.15, 0.25, thresh=(0.15, 0.3), unclip_ratio=(1.5, 1.9))
    polygons = [s for s in found.swept.settings if s.shape == "polygon" and s.unclip == "ratio"]
    assert {(s.thresh, s.unclip_ratio) for s in polygons} == {(0.15, 1.5), (0.15, 1.9)}
