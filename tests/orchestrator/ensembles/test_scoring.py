"""Blends of maps that were drawn: which words a map finds is known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.config.postprocess import PostprocessConfig
from detector.data.labels.pages import Page, Word
from detector.postprocess.maps import PageMap, quantize
from orchestrator.ensembles.blend import Blend
from orchestrator.ensembles.scoring import Scorer

WORDS = [(8, 8), (72, 8), (8, 40), (72, 40)]
SETTINGS = [
    PostprocessConfig(thresh=thresh, box_thresh=0.3, unclip_ratio=1.0) for thresh in (0.3, 0.6)
]


def page(number: int) -> Page:
    words = []
    for i, (x, y) in enumerate(WORDS):
        corners = [[x, y], [x + 40, y], [x + 40, y + 12], [x, y + 12]]
        words.append(Word(str(i), np.array(corners, np.float32), "word", False))
    return Page(f"{number:02d}", Path("unused"), 128, 64, tuple(words))


PAGES = [page(number) for number in range(8)]


class Drawn:
    """Trials that find certain words of every page, surely, or of some pages alone."""

    def __init__(self, found: dict[str, dict[int, float]], pages: dict[str, range]) -> None:
        self._found = found
        self._seen = pages
        self.made: list[tuple[str, float]] = []

    def mean(self, views: Sequence[tuple[str, float]]) -> Iterator[PageMap]:
        self.made += views
        for number, one in enumerate(PAGES):
            maps = [self._map(trial, number) for trial, _ in views]
            yield PageMap(one.name, quantize(np.mean(maps, axis=0)), np.eye(2, 3), (128, 64))

    def milliseconds(self, view: tuple[str, float]) -> float:
        return 10 * view[1]

    def _map(self, trial: str, number: int) -> Any:
        drawn = np.zeros((64, 128), np.float32)
        if number in self._seen.get(trial, range(8)):
            for word, probability in self._found[trial].items():
                x, y = WORDS[word]
                drawn[y + 4 : y + 9, x + 4 : x + 37] = probability
        return drawn


FOUND = {"a": {0: 0.9, 1: 0.9, 2: 0.9}, "b": {1: 0.9, 3: 0.9}, "c": {0: 0.9}}


def scorer(maps: Drawn, **given: Any) -> Scorer:
    return Scorer(maps, PAGES, SETTINGS, **{"most": 3, **given})  # type: ignore[arg-type]


def test_trials_that_miss_different_words_are_averaged():
    maps = Drawn(FOUND, {})
    path = scorer(maps).path(["a", "b", "c"], [1.0])
    assert [str(step.blend) for step in path] == ["a", "a + b"]
    # Three of four words, found whole, and at 0.45 all four.
    assert path[0].fitted.recall == pytest.approx(0.75)
    assert path[1].fitted.hmean == pytest.approx(1.0)
    assert path[1].postprocess.thresh == 0.3
    assert path[1].milliseconds == 20


def test_a_blend_is_scored_once_whatever_its_order():
    maps = Drawn(FOUND, {})
    score = scorer(maps)
    assert score(Blend(("a", "b"))) is score(Blend(("b", "a")))
    assert maps.made == [("a", 1.0), ("b", 1.0)]


def test_time_and_number_of_trials_are_limited():
    assert len(scorer(Drawn(FOUND, {}), most=1).path(["a", "b"], [1.0])) == 1
    assert len(scorer(Drawn(FOUND, {}), limit=19).path(["a", "b"], [1.0])) == 1
    assert scorer(Drawn(FOUND, {}), limit=9).path(["a", "b"], [1.0]) == []
    assert scorer(Drawn(FOUND, {}), limit=9).expected(["a", "b"], [1.0]) is None


def test_what_is_expected_is_told_by_pages_that_did_not_choose():
    """Each of two trials reads one half of the pages alone, which the other half cannot know."""
    sure = dict.fromkeys(range(4), 0.9)
    maps = Drawn({"a": sure, "b": sure}, {"a": range(4), "b": range(4, 8)})
    score = scorer(maps, most=1)
    assert score.path(["a", "b"], [1.0])[-1].fitted.hmean == pytest.approx(0.5)
    # Where pages are dealt to halves so that each trial reads one of them, nothing is found.
    assert score.expected(["a", "b"], [1.0]) == pytest.approx(0.0)
    assert scorer(Drawn(FOUND, {})).expected(["a", "b"], [1.0]) == pytest.approx(1.0)


def test_the_limit_may_be_none():
    assert scorer(Drawn(FOUND, {}), limit=math.inf).fits(Blend(("a", "b", "c"), (1.0, 4.0)))
