"""The benchmarks that start a Ray, see test_defaults.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_benchmarks import SMALL_ON_RAY, run_small


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("script", SMALL_ON_RAY)
def test_a_benchmark_runs_on_its_defaults(script: str, tmp_path: Path):
    run_small(script, tmp_path, SMALL_ON_RAY)
