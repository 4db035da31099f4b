"""Where jobs go on machines that differ, by given sizes and speeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.requests import Requests
from orchestrator.place.resources import LABEL, GpuKind, Machine, TrialResources
from orchestrator.trials.job import ANYWHERE, TrialJob, Where

# A T4 takes one trial, in 4 seconds a step; an H100 two, which wait for each other: 1 second.
KINDS = {"T4": GpuKind(16, 1.0, 4.0), "H100": GpuKind(80, 0.5, 0.5)}
RESOURCES = TrialResources(2, 1.0, None, kinds=KINDS)
T4, H100 = Machine(4, 1, "T4"), Machine(8, 1, "H100")
SMALL, LARGE = {"size": 1}, {"size": 2}


def holding(config: Any, resources: TrialResources) -> list[str]:
    """Large trainings need the large GPU."""
    return ["H100"] if config["size"] == 2 else list(resources.kinds)


def fleet(machines: list[Machine], resources: TrialResources = RESOURCES) -> Fleet:
    return Fleet(resources, dict, lambda: machines, holding)  # type: ignore[arg-type]


def job(number: int, where: Where = ANYWHERE, **values: Any) -> TrialJob:
    return TrialJob(number, Path(f"{number}"), SMALL, where=where, **values)


MANY = 100  # that wait, so that no machine is left idle


def start(
    of: Fleet, number: int, params: dict[str, int], waiting: int = MANY, *, begins: bool = True
) -> Where | None:
    """The place of a job, which takes it."""
    where = of.choose(params, waiting, begins)
    if where is not None:
        of.given(job(number, where))
    return where


def test_trials_begin_on_slow_machines_and_go_on_on_fast_ones():
    own = fleet([T4, H100])
    assert start(own, 0, SMALL) == Where("T4", 1.0)
    assert start(own, 1, SMALL) == Where("H100", 0.5)  # none is left idle
    assert start(own, 2, SMALL, 1, begins=False) == Where("H100", 0.5)
    assert start(own, 3, SMALL) is None  # all three slots are taken
    own.ended(job(0))
    own.lost(job(1))
    assert own.choose(SMALL, MANY, False) == Where("H100", 0.5)
    assert own.choose(SMALL, MANY, True) == Where("T4", 1.0)


def test_the_last_trials_begin_where_they_are_done_sooner():
    # A step takes 4 seconds on the T4; two slots of 1 second are done with six in 3.5.
    own = fleet([T4, H100])
    assert own.choose(SMALL, 6, True) == Where("H100", 0.5)
    assert own.choose(SMALL, 7, True) == Where("T4", 1.0)


def test_a_large_trial_waits_for_the_machine_that_holds_it_and_a_small_one_starts():
    own = fleet([T4, H100])
    assert start(own, 0, LARGE) == Where("H100", 0.5)
    assert start(own, 1, LARGE) == Where("H100", 0.5)
    assert start(own, 2, LARGE) is None
    assert start(own, 3, SMALL) == Where("T4", 1.0)


def test_a_trial_that_goes_on_waits_for_a_fast_machine_while_that_is_sooner():
    own = fleet([T4, H100])
    for number in (0, 1):
        start(own, number, SMALL, begins=False)
    assert [own.choose(SMALL, n, False) for n in (1, 6, 7)] == [None, None, Where("T4", 1.0)]


def test_with_nothing_at_work_ray_is_asked_for_a_machine_that_is_not_there():
    own = fleet([T4])
    assert start(own, 0, LARGE) == ANYWHERE
    assert own.kinds_for(TrialJob(0, Path("0"), LARGE)) == (["H100"], ["H100", "T4"])
    start(own, 1, SMALL)
    assert own.choose(LARGE, MANY, True) is None  # somebody will ask again
    assert fleet([]).choose(SMALL, MANY, True) == ANYWHERE


@pytest.mark.parametrize("others", [[], [Machine(1, 1, "H100")]])  # whose cores are too few
def test_without_a_fast_machine_trials_go_on_on_slow_ones(others: list[Machine]):
    own = fleet([T4, T4, *others])
    start(own, 0, SMALL, 1, begins=False)
    assert own.choose(SMALL, 1, False) == Where("T4", 1.0)


def test_a_kind_that_was_not_measured_takes_what_all_others_hold():
    own = fleet([Machine(4, 1, "L4"), Machine(4, 1), Machine(64, 0)])
    assert own.choose(SMALL, MANY, True) == Where("L4", 1.0)
    assert own.choose(LARGE, MANY, True) == ANYWHERE  # with nothing at work
    start(own, 0, SMALL)
    assert own.choose(LARGE, MANY, True) is None
    assert own.choose(SMALL, MANY, True) == Where("", 1.0)


@pytest.mark.parametrize("kinds", [{}, {"T4": GpuKind(16, 1.0)}])
def test_where_machines_are_alike_ray_places_all(kinds: dict[str, GpuKind]):
    own = fleet([T4], TrialResources(2, 1.0, None, kinds=kinds))
    for number in range(3):
        assert start(own, number, SMALL) == ANYWHERE


def bundles(resources: TrialResources, of: TrialJob) -> tuple[dict[str, float], Any]:
    """What is asked of Ray for a job: its resources, and the labels of its machine."""
    request = Requests(resources, fleet([T4, H100], resources)).of({"job": of})
    labels = request._bound.arguments.get("bundle_label_selector")
    return request.bundles[0], labels and labels[0]


def test_a_request_has_the_share_and_the_kind_of_its_place():
    assert bundles(RESOURCES, job(0, Where("H100", 0.5))) == (
        {"CPU": 2.0, "GPU": 0.5},
        {LABEL: "in(H100)"},
    )
    assert bundles(RESOURCES, job(0)) == ({"CPU": 2.0, "GPU": 1.0}, None)
    large = TrialJob(0, Path("0"), LARGE)
    assert bundles(RESOURCES, large) == ({"CPU": 2.0, "GPU": 1.0}, {LABEL: "in(H100)"})


def test_a_trial_that_is_tried_alone_gets_a_whole_gpu():
    half = TrialResources(2, 0.5, None, kinds={"H100": KINDS["H100"], "A100": KINDS["H100"]})
    assert bundles(half, job(0, alone=True)) == ({"CPU": 2.0, "GPU": 1.0}, None)
    assert half.alone.kinds["A100"].share == 1.0
