from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ensembles.blend import Blend, choose

SCORES = {
    "a": 0.90,
    "b": 0.80,
    "c": 0.70,
    "a + b": 0.91,
    "a + c": 0.93,
    "a + c + b": 0.92,
    "a + c at 1, 2": 0.94,
    "a at 1, 2": 0.89,
}


def score(blend: Blend) -> float:
    return SCORES.get(str(blend), 0.0)


def test_a_step_adds_the_trial_or_the_page_size_that_helps_most():
    path = choose(["a", "b", "c"], [1.0, 2.0], score=score, fits=lambda _: True)
    assert [str(blend) for blend in path] == ["a", "a + c", "a + c at 1, 2"]
    assert path[-1].views() == [("a", 1.0), ("a", 2.0), ("c", 1.0), ("c", 2.0)]


def test_what_does_not_fit_is_not_chosen():
    path = choose(["a", "b", "c"], [1.0], score=score, fits=lambda b: b.trials != ("a", "c"))
    assert [str(blend) for blend in path] == ["a", "a + b"]
    assert choose(["a"], [1.0], score=score, fits=lambda _: False) == []


def test_no_blend_is_better_than_a_single_trial():
    assert choose(["b", "a"], [1.0], score=lambda b: 1 / len(b.views()), fits=lambda _: True) == [
        Blend(("b",))
    ]


@given(st.dictionaries(st.text(), st.floats(0, 1)), st.integers(1, 4))
def test_a_path_rises_from_the_best_single_trial(scores: dict[str, float], most: int):
    trials, drawn = ["a", "b", "c", "d"], [*scores.values(), 0.5]

    def by_chance(blend: Blend) -> float:
        return drawn[sum(map(ord, str(blend))) % len(drawn)]

    path = choose(trials, [1.0], score=by_chance, fits=lambda b: len(b.trials) <= most)
    found = [by_chance(blend) for blend in path]
    assert found[0] == max(by_chance(Blend((trial,))) for trial in trials)
    assert all(one < other for one, other in pairwise(found))
    assert len(path) <= most
    assert all(len(set(blend.trials)) == len(blend.trials) for blend in path)
