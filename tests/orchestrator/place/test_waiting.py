"""Waiting for machines: on the tests' Ray, and on clusters that can grow and that cannot.

A cluster that grows has Ray's own provider of nodes that are processes on this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import ray
from ray.experimental import internal_kv
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

from detector.core.errors import InputError
from orchestrator.place import waiting
from orchestrator.place.autoscaler import can_grow
from orchestrator.place.cluster import connected, machines
from orchestrator.place.resources import Machine, TrialResources
from orchestrator.place.waiting import Room, require_fit

GPU = TrialResources(1, 1, None)
TWO_GPUS = TrialResources(1, 2, None)


@pytest.fixture
def no_growth(ray_cluster, wait_for) -> None:
    """The tests' Ray, and it has said by now that nothing adds machines to it."""
    assert ray_cluster == [Machine(2, 1)]
    wait_for(lambda: can_grow({"GPU": 2}) is False, "what Ray says of its autoscaler")


@pytest.mark.usefixtures("no_growth")
def test_a_cluster_that_has_ended_in_this_process_is_not_the_one_that_is_asked(monkeypatch):
    monkeypatch.setattr(internal_kv, "global_gcs_client", None)  # as `Cluster.shutdown` does
    assert can_grow({"GPU": 2}) is False


@pytest.mark.usefixtures("no_growth")
def test_a_trial_that_no_machine_can_ever_hold_ends_the_search_with_the_remedy():
    said: list[str] = []
    require_fit(GPU, say=said.append)
    assert said == []
    with pytest.raises(InputError) as told:
        require_fit(TWO_GPUS, say=said.append, patience_s=0.1)
    need = "a trial needs 1 CPU core and 2 GPU, which no machine has (1 x 2 CPU cores and 1 GPU)"
    assert said == [f"waiting: {need}"]
    assert str(told.value).splitlines() == [
        "resources.gpus_per_trial: 2 is more than any machine has (1); lower it, or give "
        "resources.gpus_per_trial=0 to train on the CPU",
        "The cluster has no autoscaler that would bring such a machine; one may be added to it by "
        "hand",
    ]


def lines_of(step: Callable[[], None], said: list[str]) -> list[str]:
    """What two looks say."""
    said.clear()
    step()
    step()
    return list(said)


@pytest.mark.usefixtures("no_growth")
def test_what_is_waited_for_is_said_once_and_again_when_it_changes(monkeypatch, wait_for):
    monkeypatch.setattr(waiting, "LOOK_S", 0)
    said: list[str] = []
    room = Room(TWO_GPUS, lambda: 1, said.append)
    assert lines_of(room.step, said) == []  # no trial wants room
    group = placement_group([{"GPU": 2}])
    assert lines_of(room.step, said) == []  # too early to speak
    monkeypatch.setattr(waiting, "FIRST_WORD_S", 0)
    assert lines_of(room.step, said) == [
        "waiting: a trial needs 1 CPU core and 2 GPU, which no machine has (1 x 2 CPU cores and 1 "
        "GPU); nothing adds such a machine; one may be added by hand"
    ]
    assert lines_of(room.step, said) == []
    remove_placement_group(group)

    @ray.remote(num_gpus=1, num_cpus=0)
    class Other:
        def works(self) -> None: ...

    other = Other.remote()
    ray.get(other.works.remote())
    group = placement_group([{"GPU": 1}])
    busy = "waiting: a trial needs 1 CPU core and 1 GPU, and the machines with that do other work"
    room = Room(GPU, lambda: 1, said.append)
    assert lines_of(room.step, said) == [busy]
    ray.kill(other)
    wait_for(lambda: group.wait(timeout_seconds=0.1), "room for the trial")
    assert lines_of(room.step, said) == []
    remove_placement_group(group)


@pytest.mark.usefixtures("no_growth")
def test_a_cluster_that_cannot_grow_is_not_asked():
    with Room(TWO_GPUS, lambda: 5) as room:
        room.step()
        names = [group["name"] for group in placement_group_table().values()]
    assert not any(name.startswith("room-for-a-trial") for name in names)


# What follows runs in a process that joins a cluster of its own.


def drive_fit(resources: TrialResources) -> None:
    """Print what `require_fit` says and comes to.

    It is asked again while it lets the search begin: an autoscaler may be slow on a busy machine.
    """
    with connected(Machine(1, 0)):
        for _ in range(4):
            said: list[str] = []
            try:
                require_fit(resources, say=said.append)
                said.append("begun")
            except InputError as error:
                said.append(str(error).splitlines()[0])
                break
        print("\n".join(said))


def drive_growth() -> None:
    """Ask for four machines of which two can come, and give them back."""
    with connected(Machine(1, 0)):
        require_fit(GPU, say=print)
        trial = placement_group([{"CPU": 1, "GPU": 1}])  # as Tune makes it
        end = time.monotonic() + 60
        with Room(GPU, lambda: 4, [].append) as room:
            while sum(m.gpus for m in machines()) < 2 and time.monotonic() < end:
                room.step()
                time.sleep(0.1)
            print(f"machines: {sum(m.gpus for m in machines()):g}")
            while trial_state(trial) != "CREATED" and time.monotonic() < end:
                room.step()
                time.sleep(0.1)
            print(f"trial: {trial_state(trial)}")
        states = [g["state"] for g in placement_group_table().values() if g["name"]]
        print(f"asked for others: {len(states) > 1}; withdrawn: {set(states) == {'REMOVED'}}")


def trial_state(group: Any) -> str:
    return placement_group_table()[group.id.hex()]["state"]


NEED = "waiting: a trial needs 1 CPU core and 1 GPU, which no machine has (1 x 0 CPU cores)"
REFUSED = "resources.cpus_per_trial: 1 is more than any machine has (0); lower it"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("newer", [True, False])
def test_a_cluster_that_nothing_adds_machines_to_ends_the_search(head, newer):
    assert head(newer=newer).drive(__file__, "drive_fit(GPU)") == [NEED, REFUSED]


@pytest.mark.slow
@pytest.mark.ray
def test_an_autoscaler_that_has_no_such_machine_ends_the_search_or_does_not_say(head):
    without = {"CPU": 1}
    assert head(without).drive(__file__, "drive_fit(GPU)") == [NEED, REFUSED]
    unsure = (
        "waiting on: whether the cluster's autoscaler could bring such a machine it does not say"
    )
    assert head(without, newer=False).drive(__file__, "drive_fit(GPU)") == [NEED, unsure, "begun"]


@pytest.mark.slow
@pytest.mark.ray
def test_machines_for_all_trials_are_asked_for_at_once(head):
    """With the newer autoscaler: the older one loses nodes that are processes of one machine."""
    assert head({"CPU": 1, "GPU": 1}).drive(__file__, "drive_growth()") == [
        NEED,
        "machines: 2",
        "trial: CREATED",
        "asked for others: True; withdrawn: True",
    ]
