"""Waiting for machines on one machine, with a Ray of this file's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

from detector.errors import InputError
from orchestrator.place import waiting
from orchestrator.place.autoscaler import can_grow
from orchestrator.place.cluster import connected
from orchestrator.place.resources import Machine, TrialResources
from orchestrator.place.waiting import Room, require_fit

GPU = TrialResources(1, 1, None)
TWO_GPUS = TrialResources(1, 2, None)


@pytest.fixture(scope="module")
def no_growth() -> Iterator[None]:
    """A Ray, which has said by now that nothing adds machines to it.

    Not the one that all tests share: what Ray says of its autoscaler is asked by private names, and
    a process that has had much to do with Ray may get no answer.
    """
    with connected(Machine(2, 1)) as offers:
        assert offers == [Machine(2, 1)]
        end = time.monotonic() + 120
        while can_grow({"GPU": 2}) is not False:
            assert time.monotonic() < end, "Ray does not say that it has no autoscaler"
            time.sleep(0.5)
        yield


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
