"""Searches in processes of their own, which the tests hurt (see benchmarks/chaos_runs.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chaos_runs import Run


@pytest.fixture
def start_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """`start_run(**settings) -> Run`, below the test's own folder; none outlives the test."""
    runs: list[Run] = []

    def make(**settings: Any) -> Run:
        runs.append(Run(tmp_path / f"run{len(runs)}", **settings))
        return runs[-1]

    yield make
    for run in runs:
        run.end()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test here starts several searches, which a busy machine may take minutes for."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(1800))
