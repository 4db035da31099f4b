"""What a trial gets, on machines written down by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.core.errors import InputError
from orchestrator.place.resources import (
    Machine,
    TrialResources,
    allot,
    describe,
    fits,
    packed,
    this_machine,
)
from orchestrator.trials.failure import Sharing


@pytest.mark.parametrize(
    ("cpus", "trials", "expected"),
    [
        (1, 8, TrialResources(1, 0, 1)),
        (2, 8, TrialResources(1, 0, 2)),
        (4, 8, TrialResources(1, 0, 4)),
        (16, 8, TrialResources(4, 0, 4)),
        (16, 2, TrialResources(8, 0, 2)),
        (6, 1, TrialResources(6, 0, 1)),
    ],
)
def test_without_a_gpu_up_to_four_trials_share_the_cores(cpus, trials, expected):
    assert allot([Machine(cpus, 0)], trials=trials) == expected


def test_with_gpus_a_trial_gets_one_and_an_even_share_of_the_cores():
    assert allot([Machine(32, 4)], trials=20) == TrialResources(8, 1, 4)


def test_half_a_gpu_doubles_the_trials_and_halves_the_cores():
    assert allot([Machine(8, 1)], trials=20, gpus_per_trial=0.5) == TrialResources(4, 0.5, 2)


def test_a_fraction_never_spans_two_gpus():
    # 3 / 0.6 would be 5, but each GPU holds only one trial of 0.6.
    assert allot([Machine(30, 3)], trials=20, gpus_per_trial=0.6) == TrialResources(10, 0.6, 3)


def test_two_gpus_per_trial_halve_the_trials():
    assert allot([Machine(16, 4)], trials=20, gpus_per_trial=2) == TrialResources(8, 2, 2)


def test_several_machines_the_smallest_share_fits_all():
    machines = [Machine(2, 0), Machine(8, 1), Machine(16, 4)]
    assert allot(machines, trials=20) == TrialResources(4, 1, 5)


def test_wishes_are_kept():
    got = allot([Machine(8, 1)], trials=9, gpus_per_trial=0, cpus_per_trial=3, concurrent=1)
    assert got == TrialResources(3, 0, 1)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (
            {"gpus_per_trial": 1},
            r"gpus_per_trial: 1 is more than any machine has \(0\); .*_trial=0 to",
        ),
        ({"cpus_per_trial": 3}, r"cpus_per_trial: 3 is more than any machine has \(2\); lower it"),
    ],
)
def test_a_request_that_nothing_fits_is_refused(wish, message):
    with pytest.raises(InputError, match=message):
        allot([Machine(2, 0)], trials=4, **wish)


def test_cores_and_gpus_on_different_machines_do_not_add_up():
    machines = [Machine(64, 0), Machine(4, 1)]
    with pytest.raises(InputError, match="no single machine has 8 CPU cores together with 1 GPUs"):
        allot(machines, trials=4, gpus_per_trial=1, cpus_per_trial=8)


def test_a_growing_cluster_may_wait_for_its_first_gpu():
    got = allot([Machine(0, 0)], trials=20, growing=True)
    assert got == TrialResources(2, 1, None)
    assert "as many as fit" in describe(got)


@pytest.mark.parametrize(
    ("resources", "fit"),
    [
        (TrialResources(2, 0, None), True),
        (TrialResources(5, 0, None), False),
        (TrialResources(2, 0.5, None), True),
        (TrialResources(3, 1, None), False),  # three cores here, the GPU there
        (TrialResources(1, 2, None), False),
    ],
)
def test_a_trial_fits_on_one_machine_or_on_none(resources, fit):
    assert fits(resources, [Machine(4, 0), Machine(2, 1)]) is fit
    assert not fits(resources, [])


@given(
    cpus=st.integers(1, 128),
    gpus=st.integers(0, 16),
    trials=st.integers(1, 100),
    share=st.sampled_from([None, 0.25, 0.5, 0.6, 1, 2]),
)
def test_the_trials_at_once_fit_the_machine(cpus, gpus, trials, share):
    if share and share > gpus:
        share = None
    try:
        got = allot([Machine(cpus, gpus)], trials=trials, gpus_per_trial=share)
    except InputError:
        pytest.fail("a machine must hold at least the share chosen for it")
    assert 1 <= got.concurrent <= trials
    assert got.concurrent * got.cpus <= cpus
    assert got.concurrent * got.gpus <= gpus + 1e-9


GB = 10**9


@pytest.mark.parametrize(
    ("trial", "limits", "share"),
    [
        (5 * GB, {}, 0.25),  # 24 GB, of which 2.4 are spared, hold four of 5 GB
        (7 * GB, {}, 0.3333),
        (3.4 * GB, {}, 0.1666),
        (22 * GB, {}, 1.0),
        (90 * GB, {}, 1.0),  # it works through its batch in parts
        (GB, {}, 0.125),  # 21 would fit
        (GB, {"cores": 2}, 0.5),
        (GB, {"cores": 0}, 1.0),
        (GB, {"trials": 3}, 0.3333),
        (0, {}, 0.125),
    ],
)
def test_a_gpu_is_shared_by_as_many_as_fit_by_hand(trial, limits, share):
    assert packed(int(trial), 24 * GB, **({"cores": 16, "trials": 16} | limits)) == share


@given(
    trial=st.integers(1, 100 * GB),
    gpu=st.integers(1, 100 * GB),
    cores=st.integers(1, 64),
    trials=st.integers(1, 64),
)
def test_what_shares_a_gpu_fits_into_it(trial, gpu, cores, trials):
    share = packed(trial, gpu, cores=cores, trials=trials)
    count = int(1 / share + 1e-9)
    assert count == 1 or count * trial <= 0.9 * gpu
    assert count <= min(max(cores, 1), max(trials, 1), 8)
    assert count * share <= 1
    # Ray rounds to four digits, and so does not make a share larger.
    assert round(share, 4) == share
    assert allot([Machine(cores, 1)], trials=trials, gpus_per_trial=share).concurrent == count


def test_this_machine_has_a_core():
    assert this_machine().cpus >= 1


def test_description_counts_cores():
    assert describe(TrialResources(1, 0, 2)) == "a trial gets 1 CPU core; trials at once: 2"
    assert "4 CPU cores and 0.5 GPU" in describe(TrialResources(4, 0.5, 2))


@pytest.mark.parametrize(
    ("machines", "wishes", "alone"),
    [
        ([Machine(16, 2)], {"gpus_per_trial": 0.25}, (16, 1)),
        ([Machine(16, 2)], {}, (16, 1)),
        ([Machine(16, 4)], {"gpus_per_trial": 2}, (16, 2)),
        ([Machine(8, 0)], {}, (8, 0)),
        ([Machine(4, 0), Machine(32, 1), Machine(16, 1)], {"gpus_per_trial": 0.5}, (16, 1)),
        ([], {"growing": True, "gpus_per_trial": 0.5}, (2, 1)),
    ],
)
def test_a_trial_alone_has_a_machine_and_one_whole_gpu(machines, wishes, alone):
    share = allot(machines, trials=20, **wishes).alone
    assert (share.cpus, share.gpus) == alone


def test_what_trials_share():
    assert TrialResources(1, 0.5, None).sharing == Sharing(gpu=True, machine=True)
    assert TrialResources(1, 0, 2).sharing == Sharing(gpu=True, machine=True)
    assert TrialResources(1, 2, 4).sharing == Sharing(gpu=False, machine=True)
    assert TrialResources(1, 0.5, 1).sharing == Sharing(gpu=False, machine=False)
