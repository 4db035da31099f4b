"""Every benchmark runs in a fresh clone without arguments; here with sizes made small."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_benchmarks import COMMANDS, NOT_RUN, SMALL, SMALL_ON_RAY, run_small


def test_every_benchmark_is_run_here_or_said_not_to_be():
    assert sorted([*SMALL, *SMALL_ON_RAY, *NOT_RUN]) == COMMANDS


@pytest.mark.slow
@pytest.mark.parametrize("script", SMALL)
def test_a_benchmark_runs_on_its_defaults(script: str, tmp_path: Path):
    run_small(script, tmp_path, SMALL)
