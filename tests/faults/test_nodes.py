"""Machines that go and come during a search: a Ray cluster of three nodes on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chaos_runs import ACCOUNT, losses, over
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.faults

STORE = {"object_store_memory": 100_000_000}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without cores and two nodes with one core each."""
    settings = {"health_check_period_ms": 500}  # until then trials are placed on dead machines
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": settings, **STORE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def test_trials_move_from_a_machine_that_is_lost_to_one_that_is_added(start_run, cluster):
    nodes = [cluster.add_node(num_cpus=1, **STORE) for _ in range(2)]
    run = start_run(trials=4, epochs=6, grace=6, seconds=1.0)
    run.address = cluster.address
    run.start()

    def both_at_work() -> bool:
        texts = [p.read_text() for p in run.folder.glob(f"trials/*/{ACCOUNT}")]
        return sum("epoch 1" in text and "epoch 6" not in text for text in texts) == 2

    run.until(both_at_work, "an epoch on each machine")
    before = over(run)
    cluster.remove_node(nodes[0], allow_graceful=False)
    cluster.add_node(num_cpus=1, **STORE)
    assert run.wait() == 0, run.said()
    assert losses(run, before, faults=1) == []
    assert {r.state.value for r in run.records()} == {"finished"}
    accounts = [p.read_text() for p in run.folder.glob(f"trials/*/{ACCOUNT}")]
    starts = [[w for w in text.split("\n") if w.startswith("start")] for text in accounts]
    moved = [lines for lines in starts if len(lines) > 1]
    assert moved  # at least one trial was cut
    assert all(lines.count("start 0") == 1 for lines in starts)  # and none began again
