"""What is told of each decision about a trial, and by which rank, on a real study."""

from __future__ import annotations

from fractions import Fraction

import pytest
from sessions import make_run

from orchestrator.compare.decisions import comparison_of
from orchestrator.compare.halving import Halving
from orchestrator.events.kinds import Event
from orchestrator.propose.search_jobs import SearchJobs
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.failure import Failure, Kind, Sharing

RATIO, THRESH = "loss.negative_ratio", "postprocess.thresh"
THRESHS = (0.2, 0.3, 0.4, 0.5, 0.6)
PROMOTE = Halving(epochs=4, grace=1, factor=2)  # rungs after 1, 2 and 4 epochs


def make_space(*points, trials=None, epochs=4) -> SearchSpace:
    return SearchSpace(
        name="test",
        description="",
        fixed={},
        parameters={
            RATIO: Parameter(RATIO, "uniform", (1.0, 8.0)),
            THRESH: Parameter(THRESH, "choice", THRESHS),
        },
        warm_start=tuple({RATIO: float(ratio), THRESH: thresh} for ratio, thresh in points),
        budget=Budget(
            trials=trials or len(points), epochs=epochs, grace_epochs=1, reduction_factor=2
        ),
    )


def searched(folder, space, *, halving=PROMOTE, stop=None) -> list[Event]:
    """What is told of a search, one job after another, whose scores are the trials' ratios / 10.

    `stop` is a trial and the epoch at which Ray's ASHA stops it.
    """
    told: list[Event] = []
    jobs = SearchJobs(make_run(folder, space), halving, tell=told.append)
    while (job := jobs.next_job()) is not None:
        start = 0 if job.twin is None else 3
        done = jobs._study.trial(job.number).intermediate_values
        report = {}
        for epoch in range(max(start, max(done, default=0)) + 1, (job.until or 4) + 1):
            score = job.params[RATIO] / 10
            report = {"epoch": epoch, "best_hmean": score, "finished": epoch == 4}
            if stop == (job.number, epoch):
                break
            jobs.reported(job, report)
        jobs.ended(job, report)
    return told


def of(told: list[Event], trial: str) -> list[str]:
    """What is said of a trial: each decision with its reason."""
    found = [event for event in told if event.trial == trial]
    return [
        f"{e.decision}: {e.reason}" if e.kind == "decision" else f"{e.kind}: {e.why}" for e in found
    ]


def test_ranks_at_rungs_say_why_a_trial_pauses_goes_on_and_stops(tmp_path):
    told = searched(tmp_path, make_space((2, 0.2), (4, 0.2), (3, 0.2)))
    assert of(told, "00000") == [
        "proposed: warm_start",
        "paused: rank 1 of 1 at rung 1",
        "stopped: rank 3 of 3 at rung 1; too many are no worse for it to go on",
    ]
    assert of(told, "00001") == [
        "proposed: warm_start",
        "paused: rank 1 of 2 at rung 1",
        "promoted: rank 1 of 2 at rung 1",
        "paused: rank 1 of 1 at rung 2",
        "promoted: rank 1 of 1 at rung 2; no trial has finished",
        "finished: None",
    ]
    places = [(e.rung, e.rank, e.of) for e in told if e.trial == "00002" and e.kind == "decision"]
    assert places == [(1, 2, 3), (1, 2, 3)]
    assert of(told, "00002")[-1] == "stopped: rank 2 of 3 at rung 1; the search is over"
    states = [e.record["state"] for e in told if e.trial == "00000" and e.kind == "decision"]
    assert states == ["paused", "stopped"]


def test_rays_own_asha_stops_by_rank_too(tmp_path):
    space = make_space((4, 0.2), (2, 0.2))
    told = searched(tmp_path, space, halving=None, stop=(1, 2))
    assert of(told, "00000") == ["proposed: warm_start", "finished: None"]
    assert of(told, "00001")[-1] == "stopped: rank 2 of 2 at rung 2"


def test_rungs_of_rays_asha_are_its_own(tmp_path):
    space = make_space((4, 0.2), epochs=9)
    ours, rays = (
        comparison_of(space, make_run(tmp_path, space, search={"scheduler": name}).config)
        for name in ("promote", "asha")
    )
    assert ours.steps({}) == (1, 2, 4, 9)
    assert ours.goes_on() == [(1, Fraction(1, 2)), (2, Fraction(1, 2)), (4, Fraction(2, 5))]
    assert rays.goes_on() == [(rung, Fraction(1, 2)) for rung in (1, 2, 4, 8)]
    assert rays.steps({}) == (1, 2, 4, 8, 9)


def test_weights_of_a_twin_are_named(tmp_path):
    told = searched(tmp_path, make_space(*((4, thresh) for thresh in THRESHS)))
    for number in (1, 2, 3, 4):
        assert of(told, f"0000{number}") == [
            "proposed: warm_start",
            "reused: the weights of trial 00000",
            "finished: None",
        ]
    assert of(told, "00000")[2:4] == [
        "promoted: rank 1 of 1 at rung 1; others wait for its weights",
        "paused: rank 1 of 1 at rung 2",
    ]


def test_the_sampler_draws_what_no_warm_start_says(tmp_path):
    told = searched(tmp_path, make_space((4, 0.2), trials=2))
    drawn = [event for event in told if event.kind == "proposed"]
    assert [event.why for event in drawn] == ["warm_start", "sampler"]
    assert set(drawn[1].params) == {RATIO, THRESH}


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_lost_says_whether_it_is_tried_again(tmp_path, shared):
    told: list[Event] = []
    run, sharing = make_run(tmp_path, make_space((4, 0.2))), Sharing(machine=shared)
    jobs = SearchJobs(run, PROMOTE, sharing, told.append)
    jobs.lost(jobs.next_job(), Failure(Kind.LOST_NODE, "the machine went away"))
    jobs.lost(jobs.next_job(), Failure(Kind.NODE_OUT_OF_MEMORY, "out of memory: it ran low"))
    last = "failed: out of memory: it ran low"
    if shared:
        last = "again: out of memory: it ran low; it is tried once with no trial beside it"
    lost = "again: its worker was lost: the machine went away"
    assert of(told, "00000") == ["proposed: warm_start", lost, last]
    states = [event.record["state"] for event in told if event.kind == "decision"]
    assert states == ["pending", "pending" if shared else "failed"]


def test_the_figures_of_a_hopeless_trial_are_told(tmp_path):
    halving = Halving(epochs=12, grace=12, factor=2)  # the first rung is the end
    told: list[Event] = []
    space = make_space(*((ratio, 0.2) for ratio in (3, 4, 5, 6, 7, 2)), epochs=12)
    jobs = SearchJobs(make_run(tmp_path, space), halving, tell=told.append)
    for number in range(6):
        job = jobs.next_job()
        for epoch in range(1, 13):
            hmean = 0.9 if number < 5 else 0.01
            report = {"epoch": epoch, "best_hmean": hmean, "finished": epoch == 12}
            if jobs.is_hopeless(job, report):
                break
            jobs.reported(job, report)
        jobs.ended(job, report)
    (given_up,) = [event for event in told if getattr(event, "decision", "") == "given_up"]
    assert given_up.trial == "00005"
    assert given_up.reason.startswith("hopeless: H-mean 0.0100 after 4 epochs, while most of 5")
    assert (given_up.record["state"], given_up.record["hmean"]) == ("stopped", 0.01)
