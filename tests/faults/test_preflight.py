"""Two machines, one of which has a GPU on paper alone, before the first trial."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.faults

MEMORY = {"object_store_memory": 100_000_000}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without cores, a node as here, and one of which Ray was told too much."""
    head = {"num_cpus": 0, "include_dashboard": False, **MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=1, **MEMORY)
        cluster.add_node(num_cpus=1, num_gpus=1, **MEMORY)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.mark.parametrize("module", ["orchestrator.preflight", "orchestrator.search"])
def test_the_one_machine_is_named_and_no_trial_begins(
    module: str, cluster: Cluster, make_dataset: Callable[..., Path], tmp_path: Path
):
    root = make_dataset(tmp_path / "data", split="train", pages=2)
    make_dataset(root, split="val", pages=2, seed=1)
    words = ["space=dbnetpp", f"data.root={root}", f"runs_dir={tmp_path / 'runs'}", "name=first"]
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {"RAY_ADDRESS": cluster.address},
    )
    assert done.returncode == 2, done.stderr
    faults = [line for line in done.stderr.splitlines() if "Ray was told of 1 GPUs" in line]
    assert len(faults) == 1
    assert "and torch sees 0" in faults[0]
    assert not [*tmp_path.glob("runs/first/trials/*")]
