"""Small runs with known figures, and a browser to open their pages with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from made_run import Made
from optuna.trial import TrialState


@pytest.fixture
def usual(make_run: Callable[..., Made]) -> Made:
    """Two finished trials that no test can tell apart, a worse one, one stopped, one failed."""
    run = make_run()
    rising = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9]
    good = [0.9 + (-1) ** i * 0.01 for i in range(10)]
    same = [0.899 + (-1) ** (i // 2) * 0.01 for i in range(10)]
    bad = [0.6 + 0.001 * i for i in range(10)]
    run.add(TrialState.COMPLETE, rising, backbone="resnet34", lr=1e-3, pages=good)
    run.add(TrialState.COMPLETE, [*rising[:5], 0.899], lr=2e-3, pages=same)
    run.add(TrialState.COMPLETE, [0.1, 0.2, 0.3, 0.4, 0.6, 0.5], lr=9e-3, pages=bad)
    run.add(TrialState.PRUNED, [0.2, 0.3], lr=5e-3)
    run.add(TrialState.FAIL, [0.1], lr=8e-3, reason="out of memory")
    return run


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from chromium import chromium, find_chromium

    if find_chromium() is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
