"""What a search stops and deletes to keep to its disk, on a real study and real files."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from optuna.trial import TrialState as OptunaState
from rich.console import Console
from sessions import add_trial, make_run

from detector.inference.checkpoint import WEIGHTS
from detector.training.storage.generations import LAST
from orchestrator.compare.decisions import Decisions
from orchestrator.compare.ends import Ends
from orchestrator.compare.halving import Halving
from orchestrator.events.kinds import Event
from orchestrator.execute.recorder import Recorder
from orchestrator.propose.proposals import HMEAN
from orchestrator.propose.search_jobs import SearchJobs
from orchestrator.propose.twins import Twins
from orchestrator.results.live import View
from orchestrator.run.as_records import TWIN
from orchestrator.run.run import Run
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.job import TrialJob

RATIO, THRESH = "loss.negative_ratio", "postprocess.thresh"
THRESHS = (0.2, 0.3)
PROMOTE = Halving(epochs=4, grace=1, factor=2)  # rungs after 1, 2 and 4 epochs
RATIOS = (2.0, 5.0, 3.0, 6.0, 4.0, 7.0, 1.0, 1.5)


def make_space(*points: tuple[float, float]) -> SearchSpace:
    parameters = {
        RATIO: Parameter(RATIO, "uniform", (1.0, 8.0)),
        THRESH: Parameter(THRESH, "choice", THRESHS),
    }
    warm_start = tuple({RATIO: ratio, THRESH: thresh} for ratio, thresh in points)
    budget = Budget(trials=len(points), epochs=4, grace_epochs=1, reduction_factor=2)
    return SearchSpace("test", "", {}, parameters, warm_start=warm_start, budget=budget)


def write(job: TrialJob) -> str:
    """The files of a trial as a worker leaves them; where its best weights are, in the run."""
    best = job.folder / "checkpoint" / "best"
    best.mkdir(parents=True, exist_ok=True)
    (best / WEIGHTS).write_bytes(b"weights")
    (best / "config.yaml").write_text("{}", encoding="utf-8")
    (best.parent / LAST).write_bytes(b"state")
    return f"trials/{job.folder.name}/checkpoint/best"


class Searched:
    """A search of one job after another whose scores are the trials' ratios / 10."""

    def __init__(self, run: Run, most: int = 100) -> None:
        self.run, self.told = run, list[Event]()
        self.jobs = SearchJobs(run, PROMOTE, tell=self.told.append)
        view = View(Console(file=StringIO()), trials=8, epochs=4, parameters=run.parameters)
        self.recorder = Recorder(run, view)
        for _ in range(most):
            if (job := self.jobs.next_job()) is None:
                break
            self.recorder.started(job)
            self.train(job)
            self.recorder.ended(job)
        self.recorder.close()

    def train(self, job: TrialJob) -> None:
        done = max(self.run.study.trial(job.number).intermediate_values, default=0)
        report = {}
        for epoch in range(done + 1 if job.twin is None else 4, (job.until or 4) + 1):
            report = {
                **{"epoch": epoch, "best_epoch": epoch, "best_hmean": job.params[RATIO] / 10},
                **{"finished": epoch == 4, "params_m": 1.0, "checkpoint": write(job)},
            }
            self.jobs.reported(job, report)
        self.jobs.ended(job, report)

    def of(self, number: int) -> list[str]:
        """What was decided about a trial."""
        told = [e for e in self.told if e.kind == "decision" and int(e.trial) == number]
        return [f"{event.decision}: {event.reason}" for event in told]


def files(folder: Path, name: str) -> list[int]:
    """The trials that have such a file."""
    return sorted(int(p.relative_to(folder).parts[1][:5]) for p in folder.glob(f"trials/*/{name}"))


def searched(folder: Path, space: SearchSpace, most: int = 100, **budget) -> Searched:
    folder.mkdir(exist_ok=True)
    return Searched(make_run(folder, space, budget=budget), most)


@pytest.fixture
def space() -> SearchSpace:
    return make_space(*((ratio, 0.2) for ratio in RATIOS))


def test_without_a_limit_all_weights_stay_and_states_of_those_that_are_over_go(tmp_path, space):
    searched(tmp_path, space)
    assert files(tmp_path, f"checkpoint/best/{WEIGHTS}") == list(range(8))
    finished = files(tmp_path, f"checkpoint/{LAST}")
    assert finished == [3, 5]  # those with the best ratios


def test_a_limit_holds_and_changes_nothing_else_that_it_need_not(tmp_path, space):
    free = searched(tmp_path / "free", space)
    # With 20 MB for each paused trial and 4 for one that is over, one of these is too many.
    held = tmp_path / "held"
    found = searched(held, space, disk_gb=0.08)
    assert files(held, f"checkpoint/best/{WEIGHTS}") == list(range(1, 8))
    assert files(held, "checkpoint/best/config.yaml") == list(range(8))
    assert files(held, f"checkpoint/{LAST}") == []
    assert [r.trial for r in found.run.records() if r.checkpoint is None] == ["00000"]
    reports = [[t.intermediate_values for t in one.run.study.trials] for one in (free, found)]
    assert reports[0] == reports[1]


def test_what_goes_is_told_with_its_limit(tmp_path, space):
    found = searched(tmp_path, space, disk_gb=0.06)
    gone = found.run.study.weights_deleted
    assert len(gone) == 3
    for name in gone:
        assert found.of(int(name))[-1] == "weights_deleted: budget.disk_gb=0.06 has no room for it"


def test_paused_trials_are_stopped_where_weights_of_others_are_not_enough(tmp_path, space):
    found = searched(tmp_path, space, most=4, disk_gb=0.05)
    # 20 MB for each of the three that are paused, and 8 for the run's own best.
    assert found.of(0)[-2:] == [
        "stopped: rank 3 of 3 at rung 1; budget.disk_gb=0.05 has no room for it",
        "weights_deleted: budget.disk_gb=0.05 has no room for it",
    ]
    assert files(tmp_path, f"checkpoint/{LAST}") == [1, 2]
    assert files(tmp_path, f"checkpoint/best/{WEIGHTS}") == [1, 2]


def test_a_trial_that_went_on_and_has_not_reported_is_not_stopped(tmp_path):
    """It was the best when it went on, and others came that are better."""
    space = make_space(*((ratio, 0.2) for ratio in (3.0, 2.0, 4.0, 5.0, 6.0, 7.0)))
    found = searched(tmp_path, space, most=2, disk_gb=0.001)
    gone_on = found.jobs.next_job()
    assert (gone_on.number, gone_on.until) == (0, 2)
    better = [found.jobs.next_job() for _ in range(4)]
    for job in better:
        found.train(job)
    assert found.of(0)[-1] == "promoted: rank 1 of 2 at rung 1"
    assert found.of(1)[-2].endswith("budget.disk_gb=0.001 has no room for it")
    found.train(gone_on)
    assert found.run.study.record(0).epochs == 2


def test_a_limit_that_cannot_be_held_is_said_once(tmp_path, space):
    found = searched(tmp_path, space, disk_gb=0.001)
    (note,) = [event.text for event in found.told if event.kind == "note"]
    assert note.startswith("budget.disk_gb=0.001: the trials at work and the best ones may take ")
    assert found.run.records()[5].state.value == "finished"


def test_what_a_session_did_not_get_to_delete_is_deleted_by_the_next(tmp_path, space):
    found = searched(tmp_path, space, disk_gb=0.06)
    gone = found.run.study.weights_deleted
    folder = found.run.trial_folder(int(gone[0]))
    (folder / "checkpoint" / "best" / WEIGHTS).write_bytes(b"weights")
    (folder / "checkpoint" / LAST).write_bytes(b"state")
    searched(tmp_path, space, disk_gb=0.06)
    assert not (folder / "checkpoint" / "best" / WEIGHTS).exists()
    assert not (folder / "checkpoint" / LAST).exists()


def test_weights_that_another_trial_is_scored_with_stay(tmp_path, space):
    run = make_run(tmp_path, space)
    for hmean in (0.4, 0.3, 0.9):
        add_trial(run, OptunaState.COMPLETE, hmean, params_m=1.0, checkpoint="best")
    run.study.note(run.study.begin({}, {}).number, **{TWIN: 1})
    ends = Ends(Decisions(run.study, PROMOTE, HMEAN, lambda _: None), lambda: [], 0.001)
    ends.early(more=0)
    assert run.study.weights_deleted == ["00000"]


def test_the_best_that_will_be_trained_again_keep_their_weights(tmp_path, space):
    run = make_run(tmp_path, space)
    for hmean in (0.4, 0.3, 0.9, 0.8):
        add_trial(run, OptunaState.COMPLETE, hmean, params_m=1.0, checkpoint="best")
    decisions = Decisions(run.study, PROMOTE, HMEAN, lambda _: None)
    Ends(decisions, lambda: [], 0.001, to_confirm=3).early(more=0)
    assert run.study.weights_deleted == ["00001"]
    Ends(decisions, lambda: [], 0.001).early(more=0)
    assert run.study.weights_deleted == ["00001", "00000", "00003"]


def test_a_trial_without_weights_is_nobodys_twin(tmp_path):
    alike = make_space((5.0, 0.2), (5.0, 0.3))
    found = searched(tmp_path, alike)
    twins = Twins(found.run)
    assert twins.of(1).number == 0
    found.run.study.delete_weights(["00000"])
    assert twins.of(1) is None
