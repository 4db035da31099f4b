from __future__ import annotations

from fractions import Fraction

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.forecast.forecast import Ends, forecast
from orchestrator.forecast.future import Rules
from orchestrator.forecast.seen import Now, Seen
from orchestrator.forecast.words import in_words, left_of, why_stop

STEPS = (1, 3, 9)
THIRDS = [Fraction(1, 3)] * 2
ONE = Rules(new=0, shares=THIRDS, at_once=1)


def seen(number: int, now: Now, *hmeans: float, **known: object) -> Seen:
    values = dict(enumerate(hmeans, 1))
    pace = 10.0 if hmeans else None
    return Seen(number, STEPS, now, epoch=len(hmeans), values=values, pace=pace, **known)  # type: ignore[arg-type]


def over(number: int, last: float) -> Seen:
    """A finished trial of H-means 0.5, ... `last`."""
    return seen(number, Now.OVER, *[0.5] * 2, *[0.7] * 6, last)


def test_nothing_is_said_before_an_epoch_is_over():
    assert forecast([seen(0, Now.WORKING)], ONE, Ends()) is None


def test_what_is_certain_is_told_to_the_second():
    """One trial has 6 of 9 epochs of 10 s left, less 5 s; then come three of 90 s, one at once."""
    trials = [seen(0, Now.WORKING, 0.5, 0.6, 0.7, since=5.0)]
    known = forecast(trials, ONE, Ends(confirmations=3))
    assert known is not None
    assert (known.seconds, known.low, known.high) == pytest.approx((55 + 270,) * 3)
    assert (known.gain, known.rate) == (None, None)  # none has trained to its end
    assert left_of(trials[0]) == 55
    assert left_of(seen(0, Now.WORKING)) is None


@pytest.mark.parametrize(
    ("ends", "seconds"),
    [
        (Ends(seconds=30), 30),
        (Ends(epochs=2), 20),
        (Ends(training_s=40), 40),
        (Ends(seconds=30, confirmations=2), 30),  # a limit that ends the search ends it for good
        (Ends(seconds=70, confirmations=2), 70),
        (Ends(seconds=999, epochs=99, training_s=999), 60),
    ],
)
def test_a_limit_ends_it_sooner(ends: Ends, seconds: float):
    known = forecast([seen(0, Now.WORKING, 0.5, 0.6, 0.7)], ONE, ends)
    assert known is not None
    assert known.seconds == pytest.approx(seconds, rel=0.01)


def test_a_search_with_nothing_left_is_expected_to_bring_nothing():
    known = forecast([over(0, 0.9)], ONE, Ends())
    assert known is not None
    assert (known.seconds, known.gain, known.rate) == (0, 0, 0)


def test_an_hour_too_short_for_a_result_does_not_hide_what_a_longer_one_brings():
    """The next rung is 60 seconds away, and an epoch takes 10: an `hour` of 5 s sees nothing."""
    trials = [over(0, 0.9), over(1, 0.91), over(2, 0.92), seen(3, Now.WORKING, 0.5, 0.6, 0.85)]
    known = forecast(trials, ONE, Ends(), hour=5.0)
    assert known is not None
    assert known.gain == 0
    assert known.rate is not None
    assert known.rate > 0


@given(
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=8), st.integers(0, 8), st.integers(1, 4)
)
@examples(30)
def test_expectations_are_in_order(hmeans, new, at_once):
    trials = [over(0, 0.8), *(seen(i, Now.PAUSED, h) for i, h in enumerate(hmeans, 1))]
    known = forecast(trials, Rules(new, THIRDS, at_once), Ends(), hour=60.0)
    assert known is not None
    assert 0 <= known.low <= known.high
    assert known.gain is not None
    assert known.rate is not None
    assert 0 <= known.gain <= known.rate <= 1
    assert known == forecast(trials, Rules(new, THIRDS, at_once), Ends(), hour=60.0)


def test_in_words_and_why_to_stop():
    trials = [over(i, 0.9 + i / 1000) for i in range(3)]
    known = forecast(trials, ONE, Ends())
    assert known is not None
    assert in_words(known) == "about 0s left, next hour: +0.0000 expected"
    assert why_stop(known, trials, 0.001) is None  # too few are tried
    trials += [seen(i, Now.PAUSED, 0.1) for i in range(3, 10)]
    reason = why_stop(known, trials, 0.001)
    assert reason is not None
    assert reason.startswith(
        "budget.stop=auto: after 10 trials, 3 of them to the end, the next hour is expected to "
        "bring +0.0000 to the best H-mean of 0.9020"
    )
    assert reason.endswith("less than budget.worth=0.001")
