"""Replayed searches on a real Ray with a real Optuna, on a table of twelve trainings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna_policies
import policies
import pytest
import replay
import replay_policies
import stand_in
from policies import Rules
from replay_policies import POLICIES

from detector.core.errors import JobError
from orchestrator.run.study import Study
from orchestrator.space.parameters import Parameter
from orchestrator.trials.job import TrialJob

NESTED = (
    *("ours", "ours-asha", "ours-alone", "ray-nested"),
    *("random", "iepoch", "pasha", "optuna-hyperband"),
)
JOINT = ("ray", "ray-alone", "ours-joint", "optuna-hyperband-joint")


@pytest.fixture(scope="module")
def table(drawn_table):
    return replay.read_table(drawn_table)


def search(name, table, *, target=2.0, cap=15, seed=0, concurrent=1):
    yardstick = replay.Yardstick(target, cap)
    POLICIES[name](table, yardstick, seed, Rules(grace=1, factor=3, concurrent=concurrent))
    return yardstick


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("name", NESTED + JOINT)
def test_a_policy_stops_at_the_cap_and_ships_what_is_in_the_table(table, name, capfd):
    found = search(name, table, concurrent=2)
    assert len(found.worths) == 15
    assert not found.reached
    possible = table.shipped if name in NESTED else table.whole
    assert set(found.worths) <= set(possible.ravel().tolist())
    assert len(set(found.worths)) > 1
    if name in JOINT:
        assert found.worths == sorted(found.worths)
    assert capfd.readouterr() == ("", "")  # Ray and Optuna keep quiet


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("name", ["ray", "ours"])
def test_the_same_seed_gives_the_same_search(table, name):
    first, again, other = (search(name, table, seed=seed).worths for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.usefixtures("ray_cluster")
def test_a_policy_stops_as_soon_as_its_model_is_good_enough(table):
    # Any training of the best half, in its last epoch.
    target = float(np.median(table.shipped[:, -1]))
    found = search("ours", table, target=target, cap=36)
    assert found.reached
    assert found.worths[-1] >= target
    assert max(found.worths[:-1]) < target


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("name", ["ours", "ray"])
def test_without_ray_a_search_is_the_same_epoch_by_epoch(table, name):
    assert search(f"{name}-alone", table, cap=36, seed=3).worths == (
        search(name, table, cap=36, seed=3).worths
    )


@pytest.mark.usefixtures("ray_cluster")
def test_no_epoch_of_a_training_is_counted_twice_by_this_projects_search(table):
    # Twelve trainings of three epochs are all there is: with a cap beyond, it ends by itself.
    assert len(search("ours", table, cap=100).worths) <= 36


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("name", ["ray", "ours"])
def test_a_trial_that_fails_ends_the_replay(table, name):
    lame = replay.Table(table.configs, table.settings, table.hmeans, {})
    lame.__dict__["crossfit"] = table.crossfit[:1]
    lame.__dict__["whole"] = table.whole[:1]
    with pytest.raises(JobError, match=r"(?s)a replayed trial failed: .*IndexError"):
        search(name, lame)


def reports(table, job, *, nested=True):
    told = []
    replay_policies.replayed_trial(table, nested=nested)(job, told.append)
    return told


def test_a_replayed_trial_goes_on_from_where_it_was(tmp_path, table):
    params = {"optimizer.lr": 0.002, "model.neck": "b"}
    first = reports(table, TrialJob(0, tmp_path, params, until=1))
    rest = reports(table, TrialJob(0, tmp_path, params, until=3))
    lost = reports(table, TrialJob(0, tmp_path, params))
    expected = table.crossfit[4].tolist()
    assert [r["epoch"] for r in first] == [1]
    assert [r["epoch"] for r in rest] == [2, 3]
    told = first + rest
    assert [r["hmean"] for r in told] == expected
    assert [r["best_hmean"] for r in told] == np.maximum.accumulate(expected).tolist()
    assert [r["finished"] for r in told] == [False, False, True]
    assert all(r["trained"] and r["row"] == 4 for r in told)
    assert lost == [told[-1] | {"trained": False}]


def test_a_replayed_joint_trial_reports_its_own_setting(tmp_path, table):
    params = {"optimizer.lr": 0.001, "model.neck": "c", "thresh": 0.3, "box_thresh": 0.4}
    told = reports(table, TrialJob(0, tmp_path, params), nested=False)
    assert [r["hmean"] for r in told] == table.whole[2, :, 2].tolist()


def test_compared_by_cost_large_networks_meet_their_rungs_in_fewer_epochs():
    nets = ("mobilenetv3_small_050", "resnet18")
    rates = (0.001, 0.002, 0.003)
    configs = tuple({"model.backbone": net, "optimizer.lr": lr} for net in nets for lr in rates)
    about = {"augment.crop_px": 64, "model.neck_channels": 16}
    scores = np.tile(np.linspace(0.1, 0.9, 9)[None, :, None, None], (6, 1, 2, 1))  # all alike
    costs = np.repeat([1.0, 9.0], 3)[:, None] * np.ones((6, 9))
    trained = {}
    for name in ("ours-alone", "ours-cost"):
        same = replay.Table(configs, ({"thresh": 0.3},), scores, about, (), costs)
        yardstick = replay.Yardstick(2.0, 10_000)
        POLICIES[name](same, yardstick, 0, Rules(grace=3, factor=3, concurrent=1))
        trained[name] = yardstick.spent
    assert trained["ours-cost"] < trained["ours-alone"]


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("name", ["ray", "ours", "optuna-hyperband"])
def test_a_search_of_ranges_trains_what_was_recorded(table, name):
    ranges = (Parameter("optimizer.lr", "log_uniform", (0.001, 0.008)),)
    drawn = replay.Table(table.configs, table.settings, table.hmeans, {}, ranges)
    found = search(name, drawn, cap=12)
    assert len(found.worths) == 12
    possible = drawn.whole if name in JOINT else drawn.shipped
    assert set(found.worths) <= set(possible.ravel().tolist())


@pytest.mark.parametrize("name", ["ours-alone", "ours-tpe", "ray-alone", "optuna-hyperband"])
def test_a_search_of_ranges_has_each_training_once_and_is_told_which(table, name, monkeypatch):
    ranges = (Parameter("optimizer.lr", "log_uniform", (0.001, 0.008)),)
    drawn = replay.Table(table.configs, table.settings, table.hmeans, {}, ranges)
    given, told = [], []
    of, tell, begin = stand_in.StandIns.of, stand_in.tell, Study.begin

    def noted(self, point):
        given.append(of(self, point))
        return given[-1]

    def noted_tell(study, trial_id, point):
        tell(study, trial_id, point)
        told.append(study._storage.get_trial(trial_id).params)

    def noted_begin(self, params, distributions, **notes):
        trial = begin(self, params, distributions, **notes)
        told.append(trial.params)
        return trial

    monkeypatch.setattr(stand_in.StandIns, "of", noted)
    monkeypatch.setattr(policies, "tell", noted_tell)
    monkeypatch.setattr(optuna_policies, "tell", noted_tell)
    monkeypatch.setattr(Study, "begin", noted_begin)
    search(name, drawn, cap=24)
    rows = [stand_in.rows_of(table.configs)(point) for point in given]
    assert len(rows) >= 8
    assert len(set(rows[:12])) == min(len(rows), 12)
    assert told == given


def test_every_policy_is_documented():
    text = (Path(replay_policies.__file__).parent / "bench_search.py").read_text()
    assert all(f"\n{name}: " in text for name in POLICIES)
