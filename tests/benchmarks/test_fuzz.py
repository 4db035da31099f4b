"""What counts as an input that a reader never comes to the end of."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import fuzz
import pytest
from fuzz_inputs import Target


def spend(seconds: float) -> None:
    """So much of the process's own time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def fuzzed(monkeypatch: pytest.MonkeyPatch, folder: Path, seconds: list[float]) -> fuzz.Counts:
    """The counts of a reader whose inputs take so many seconds, one after another."""
    left = iter([seconds[0], *seconds])  # the first one is read twice

    def make(_: Random) -> float:
        return next(left)

    monkeypatch.setitem(fuzz.TARGETS, "slow", lambda _: Target(make, spend, ("file",)))
    return fuzz.fuzz("slow", folder, examples=len(seconds), seed=1)


def test_a_reading_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(fuzz, "LIMIT_S", 0.2)
    counts = fuzzed(monkeypatch, tmp_path, [0.0, 60.0, 0.0])
    assert (counts.inputs, counts.taken) == (3, 2)
    (told,) = counts.others
    assert told.startswith("EndlessError: more than ")
    assert told.endswith(" s from 60.0")


def test_an_input_may_take_many_times_what_those_before_it_took(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Or a machine that is slow, or busy for a while, would find faults where there are none."""
    monkeypatch.setattr(fuzz, "LIMIT_S", 0.2)
    counts = fuzzed(monkeypatch, tmp_path, [0.1, 0.1, 0.8])
    assert (counts.taken, counts.others) == (3, [])


def test_a_large_input_may_take_longer():
    counts = fuzz.Counts(taken=3, refused=1, seconds=2.0)
    assert counts.limit_s(0) == fuzz.LIMIT_S + 5.0
    assert counts.limit_s(500_000) == fuzz.LIMIT_S + 2.0 + 5.0
    assert fuzz.Counts().limit_s(0) == fuzz.LIMIT_S
