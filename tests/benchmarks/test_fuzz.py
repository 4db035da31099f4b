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
    assert told == "EndlessError: more than 0.2 s from 60.0"
