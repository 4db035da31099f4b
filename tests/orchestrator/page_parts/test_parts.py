"""Sizes of parts that lie within each other, and trainings on them of equal length."""

from __future__ import annotations

import itertools

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.data.labels.pages import evenly_spaced
from orchestrator.page_parts.parts import same_steps, sizes


def test_quarters_and_halves():
    assert sizes(485, 485, 2) == [121, 242, 485]
    assert sizes(24, 24, 3) == [3, 6, 12, 24]
    # A hundred of 485 hold 25 and 50 of them; 102 of 485 would not hold 50.
    assert sizes(100, 485, 2) == [25, 50, 100]
    assert sizes(102, 485, 2) == [25, 50, 100]


@examples(200)
@given(st.integers(8, 700), st.integers(0, 700), st.integers(1, 3))
def test_each_part_lies_within_the_next(given_pages, more, halvings):
    split = list(range(given_pages + more))
    parts = [set(evenly_spaced(split, n)) for n in sizes(given_pages, len(split), halvings)]
    assert all(small < large for small, large in itertools.pairwise(parts))
    assert len(parts) == halvings + 1


@pytest.mark.parametrize(("pages", "halvings"), [(3, 1), (7, 3)])
def test_too_few_pages_are_one_message(pages, halvings):
    with pytest.raises(InputError, match=f"trained on {pages} pages, .* label more pages first"):
        sizes(pages, pages, halvings)


def test_a_part_takes_the_steps_of_the_whole():
    settings = {
        "train.epochs": 6,
        "train.batch_size": 4,
        "train.eval_every": 2,
        "optimizer.warmup_epochs": 0.5,
        "optimizer.freeze_epochs": 1,
    }
    whole = with_values(TrainConfig(), settings)
    # 122 steps an epoch and 31: four times as many epochs are 744 steps in place of 732.
    assert same_steps(whole, 121, 485) == {
        "data.train_pages": 121,
        "train.epochs": 24,
        "train.eval_every": 8,
        "optimizer.warmup_epochs": 2.0,
        "optimizer.freeze_epochs": 4,
    }
    assert same_steps(whole, 485, 485)["train.epochs"] == 6
