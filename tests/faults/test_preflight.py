"""Two machines of which one has another revision of this program, before the first trial."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

import orchestrator

pytestmark = pytest.mark.faults

CODE = Path(orchestrator.__file__).parents[1]
MEMORY = {"object_store_memory": 100_000_000}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A head without cores, a node as here, and one with a file more in its own package."""
    other = tmp_path / "other"
    for name in ("detector", "orchestrator"):
        shutil.copytree(CODE / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    (other / "orchestrator" / "extra.py").write_text("")
    head = {"num_cpus": 0, "include_dashboard": False, **MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for path in (CODE, other):
            paths = os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])
            cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": paths}, **MEMORY)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.mark.parametrize("module", ["orchestrator.preflight", "orchestrator.search"])
def test_the_machine_with_another_revision_is_named_and_no_trial_begins(
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
        env=os.environ | {"RAY_ADDRESS": cluster.address, "PYTHONPATH": str(CODE)},
    )
    assert done.returncode == 2, done.stderr
    faults = [line for line in done.stderr.splitlines() if "on the machine of the search" in line]
    assert len(faults) == 1
    assert "install the same revision of this program on all machines" in faults[0]
    assert not [*tmp_path.glob("runs/first/trials/*")]
