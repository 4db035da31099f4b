"""One small Ray for all tests that need it: two cores, and a GPU on paper."""

from __future__ import annotations

import pytest

from orchestrator.cluster import connected
from orchestrator.resources import Machine


@pytest.fixture(scope="session")
def ray_cluster():
    with connected(Machine(cpus=2, gpus=1)) as machines:
        yield machines
