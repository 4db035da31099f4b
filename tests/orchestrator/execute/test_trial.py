"""From a point to a training and from its reports to the search, without Ray."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sessions import make_run, session_of

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError, JobError
from detector.core.files import is_locked
from detector.inference.checkpoint import read_best
from orchestrator.execute.trial import Log, detector_trial, explain, held, on_gpus, summary
from orchestrator.execute.tuner import run_search
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.job import TrialJob, Twin
from orchestrator.trials.records import TrialState

BUDGET = {"trials": 2, "epochs": 2, "grace_epochs": 1, "reduction_factor": 2}


def tiny_space(root: Path, settings: dict[str, Any]) -> SearchSpace:
    """A space whose trials train in a second."""
    return SearchSpace(
        name="test",
        description="",
        fixed=settings | {"data.root": root},
        parameters={"optimizer.lr": Parameter("optimizer.lr", "log_uniform", (1e-4, 1e-2))},
        warm_start=(),
        budget=Budget(**BUDGET),
    )


@dataclass(frozen=True)
class Report:
    """The shape of detector.training.trainer.EpochReport, which costs ten seconds to import."""

    epoch: int
    metrics: dict[str, float]
    page_hmeans: dict[str, float]
    checkpoint: Path
    finished: bool
    tuned: dict[str, Any] = field(default_factory=dict)


def test_a_trial_holds_its_folder_and_goes_on_where_another_process_has_it(tmp_path: Path):
    """Whoever starts a training there by hand is refused; a worker out of reach stops nobody."""
    lines: list[str] = []
    with held(tmp_path, lines.append):
        assert is_locked(tmp_path)
        with held(tmp_path, lines.append):
            pass
    assert not is_locked(tmp_path)
    (line,) = lines
    assert line.startswith(f"another process is at work in {tmp_path} (process {os.getpid()} on ")


def test_a_point_becomes_a_training_whose_epochs_are_reported(
    make_dataset, tiny_settings, tmp_path: Path
):
    root = make_dataset(tmp_path / "data", split="train")
    make_dataset(root, split="val")
    folder = tmp_path / "run" / "trials" / "00000"
    job = TrialJob(0, folder, {"optimizer.lr": 0.002})
    reports: list[dict[str, Any]] = []
    before = torch.get_num_threads()
    try:
        detector_trial(tiny_space(root, tiny_settings), threads=1)(job, reports.append)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert [(r["epoch"], r["finished"]) for r in reports] == [(1, False), (2, True)]
    config = read_best(tmp_path / "run" / reports[-1]["checkpoint"])[1]
    assert (config.optimizer.lr, config.train.epochs, config.train.batch_size) == (0.002, 2, 2)
    # The cores are this trial's; whoever trains its config further has others.
    assert config.train.threads is None
    assert "epoch 2/2" in (folder / "log.txt").read_text()


def test_a_trial_whose_last_report_was_lost_reports_again(
    make_dataset, tiny_settings, tmp_path: Path
):
    root = make_dataset(tmp_path / "data", split="train")
    make_dataset(root, split="val")
    job = TrialJob(0, tmp_path / "run" / "trials" / "00000", {"optimizer.lr": 0.002})
    trial, reports = detector_trial(tiny_space(root, tiny_settings), threads=1), []
    trial(job, lambda _: None)
    trial(job, reports.append)
    assert [(r["epoch"], r["finished"]) for r in reports] == [(2, True)]


def test_a_trial_with_a_twin_is_scored_with_its_weights(make_dataset, tiny_settings, tmp_path):
    root = make_dataset(tmp_path / "data", split="train")
    make_dataset(root, split="val", pages=2)
    space = tiny_space(root, tiny_settings)
    thresh = "postprocess.box_thresh"
    space = replace(
        space,
        parameters=space.parameters | {thresh: Parameter(thresh, "uniform", (0.1, 0.9))},
        fixed={key: value for key, value in space.fixed.items() if key != thresh},
    )
    trial, reports = detector_trial(space, threads=1), []
    folders = [tmp_path / "run" / "trials" / name for name in ("00000", "00001")]
    trial(TrialJob(0, folders[0], {"optimizer.lr": 0.002, thresh: 0.2}), reports.append)
    twin = Twin(folders[0], epochs=2, best_epoch=1, finished=True)
    trial(TrialJob(1, folders[1], {"optimizer.lr": 0.002, thresh: 0.4}, twin=twin), reports.append)
    last = reports[-1]
    assert (last["epoch"], last["best_epoch"], last["finished"]) == (2, 1, True)
    assert last["checkpoint"] == "trials/00001/checkpoint/best"
    assert len(last["page_hmeans"]) == 2
    weights = [folder / "checkpoint/best/model.safetensors" for folder in folders]
    tensors = [load_file(path) for path in weights]
    assert all(torch.equal(value, tensors[1][key]) for key, value in tensors[0].items())


def test_a_jobs_seed_and_values_take_the_place_of_the_points(make_dataset, tiny_settings, tmp_path):
    root = make_dataset(tmp_path / "data", split="train")
    make_dataset(root, split="val")
    trial = detector_trial(tiny_space(root, tiny_settings | {"train.seed": 4}), threads=1)
    folder = tmp_path / "run" / "trials" / "00000" / "seeds" / "5"
    own = {"data.train_pages": 1, "train.epochs": 3}
    trial(TrialJob(0, folder, {"optimizer.lr": 0.002}, seed=5, values=own), lambda _: None)
    config = read_best(folder / "checkpoint" / "best")[1]
    assert (config.train.seed, config.optimizer.lr) == (5, 0.002)
    assert (config.data.train_pages, config.train.epochs) == (1, 3)


@pytest.mark.parametrize(
    ("gpus", "settings", "processes", "threads"),
    [
        (2.0, {}, 2, 3),
        (4.0, {"train.batch_size": 3}, 3, 2),  # a crop each
        (8.0, {"train.batch_size": 16}, 8, 1),
        (2.0, {"train.compile": True}, 1, None),
        (1.0, {}, 1, None),
        (0.5, {}, 1, None),
        (0.0, {}, 1, None),
    ],
)
def test_each_gpu_of_a_trial_gets_a_process(gpus, settings, processes, threads):
    config = on_gpus(with_values(TrainConfig(), settings), gpus, threads=6)
    assert (config.train.processes, config.train.threads) == (processes, threads)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(("given", "processes"), [({}, 2), ({"train.processes": 1}, 1)])
def test_a_trial_with_two_gpus_trains_with_two_processes(
    make_dataset, tiny_settings, tmp_path, given, processes
):
    """In a worker of Ray, whose processes are its own; without GPUs they are on the CPU."""
    root = make_dataset(tmp_path / "data", split="train")
    make_dataset(root, split="val")
    space = tiny_space(root, tiny_settings | given)
    run = make_run(tmp_path, replace(space, budget=Budget(**BUDGET | {"trials": 1})))
    trial = detector_trial(run.space, threads=2, gpus=2.0)
    run_search(session_of(run, trial, concurrent=1))
    (record,) = run.records()
    assert (record.state, record.epochs, record.reason) == (TrialState.FINISHED, 2, None)
    config = read_best(run.folder / str(record.checkpoint))[1]
    assert config.train.processes == processes
    assert config.train.threads == (1 if processes > 1 else None)


def _report(epoch: int, best_epoch: int) -> Report:
    folder = Path("/runs/r/trials/00003_resnet18")
    metrics = {"best_hmean": 0.9, "hmean": 0.8, "best_epoch": float(best_epoch)}
    pages = {"a.jpg": 0.7, "b.jpg": 0.9}
    return Report(epoch, metrics, pages, folder / "checkpoint", finished=epoch == 3)


def test_a_report_names_its_checkpoint_relative_to_the_run():
    got = summary(_report(2, 2), Path("/runs/r/trials/00003_resnet18"))
    assert got["checkpoint"] == "trials/00003_resnet18/checkpoint/best"
    assert (got["epoch"], got["finished"], got["hmean"]) == (2, False, 0.8)
    assert list(got["page_hmeans"].values()) == [0.7, 0.9]


def test_pages_come_only_with_the_best_epoch_and_the_last_report_finishes():
    got = summary(_report(3, 2), Path("/runs/r/trials/00003_resnet18"))
    assert "page_hmeans" not in got
    assert got["finished"] is True


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (JobError("the loss is\n not finite"), "the loss is not finite"),
        (InputError("data.root: missing"), "data.root: missing"),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError(), "RuntimeError: no message"),
    ],
)
def test_an_error_is_one_line_and_its_traceback_a_file(tmp_path, error, expected):
    with pytest.raises(type(error)) as caught:
        raise error
    assert explain(caught.value, tmp_path) == expected
    assert "test_trial.py" in (tmp_path / "error.txt").read_text()


def test_an_error_without_a_writable_folder_is_still_explained(tmp_path):
    (tmp_path / "file").write_text("")
    assert explain(JobError("no space"), tmp_path / "file" / "below") == "no space"


def test_a_very_long_message_is_cut(tmp_path):
    assert len(explain(JobError("x" * 9000), tmp_path)) == 500


def test_log_lines_are_on_disk_at_once_and_appended(tmp_path):
    path = tmp_path / "deep" / "log.txt"
    with Log(path) as log:
        log("one")
        assert path.read_text() == "one\n"
    with Log(path) as log:
        log("two")
    assert path.read_text() == "one\ntwo\n"
