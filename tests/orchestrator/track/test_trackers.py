"""The real clients of both trackers, offline, behind a search with a cheap trial."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial
from sessions import make_run

from detector.core.errors import InputError
from orchestrator import search
from orchestrator.config import tracker_names
from orchestrator.run.command_line import parse_arguments
from orchestrator.run.run import stored_run
from orchestrator.space.search_space import load_space
from orchestrator.track.trackers import Tracking, tracking
from orchestrator.trials.job import TrialJob
from orchestrator.trials.records import METRIC

pytestmark = pytest.mark.ray
SPACE = """\
description: a space for tests
fixed:
  data.longest_side_px: 64
parameters:
  model.backbone: {choice: [resnet18]}
  loss.negative_ratio: {uniform: [1.0, 8.0]}
warm_start:
  - {loss.negative_ratio: 4.0}
  - {loss.negative_ratio: 7.0}
  - {loss.negative_ratio: 1.5}
budget: {trials: 3, epochs: 4, grace_epochs: 1, reduction_factor: 2}
"""
SMOKE = load_space("smoke", gpu=False)
LOOKED_AT = ("MLFLOW_", "WANDB_")


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch) -> None:
    for name in [name for name in os.environ if name.startswith(LOOKED_AT)]:
        monkeypatch.delenv(name)


def cheap_trial(job, report) -> None:
    """Reports epochs from where the trial was paused to where it is to be; 1.5 fails at its end."""
    done = job.folder / "epoch"
    first = int(done.read_text()) + 1 if done.exists() else 1
    hmean = 1 - abs(job.params["loss.negative_ratio"] - 4) / 10
    for epoch in range(first, (job.until or 4) + 1):
        if hmean == 0.75:
            raise ValueError("cannot go on")
        done.write_text(str(epoch))
        report(
            {
                "epoch": epoch,
                "finished": epoch == 4,
                "hmean": hmean * epoch / 4,
                METRIC: hmean * epoch / 4,
                "best_epoch": float(epoch),
                "loss/total": 1.0 / epoch,
                "seconds": 2.0 * epoch,
            }
        )


@pytest.fixture(scope="module")
def run(request, tmp_path_factory, blank_pages) -> Path:
    """A search with both trackers: one trial is finished, one stopped, one failed."""
    pytest.importorskip("mlflow", reason="mlflow is an optional extra")
    pytest.importorskip("wandb", reason="wandb is an optional extra")
    request.getfixturevalue("ray_cluster")
    folder = tmp_path_factory.mktemp("tracked")
    data = blank_pages(folder / "data", train=["page.jpg"], val=["page.jpg", "other.jpg"])
    (folder / "tiny.yaml").write_text(SPACE)
    arguments = [f"space={folder / 'tiny.yaml'}", f"runs_dir={folder / 'runs'}", "name=first"]
    arguments += [f"data.root={data}", "resources.gpus_per_trial=0", "track=[mlflow,wandb]"]
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(LOOKED_AT)]:
            patch.delenv(name)
        assert search.main(arguments, trial=cheap_trial) == 0
    return folder / "runs" / "first"


def records(run: Path) -> dict[str, tuple[str, int]]:
    return {r.trial: (r.state.value, r.epochs) for r in stored_run(run).records()}


def test_mlflow_has_a_run_for_each_trial_and_a_step_for_each_epoch(run: Path):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{run / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("first")
    found = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    expected = records(run)
    assert found.keys() == expected.keys()
    assert sorted(state for state, _ in expected.values()) == ["failed", "finished", "stopped"]
    for name, (state, epochs) in expected.items():
        kept = found[name]
        assert kept.info.status == ("FAILED" if state == "failed" else "FINISHED")
        assert kept.data.tags["state"] == state
        assert set(kept.data.params) == {"model.backbone", "loss.negative_ratio"}
        for metric in ("cleval/hmean", "loss/total", METRIC):
            history = client.get_metric_history(kept.info.run_id, metric)
            assert [point.step for point in history] == list(range(1, epochs + 1))
    (failed,) = (name for name, (state, _) in expected.items() if state == "failed")
    assert "cannot go on" in found[failed].data.tags["reason"]
    (best,) = (name for name, (state, _) in expected.items() if state == "finished")
    assert found[best].data.metrics["final/hmean"] == 1.0
    assert found[best].data.params["loss.negative_ratio"] == "4.0"


def wandb_records(folder: Path) -> Iterator[object]:
    """What an offline run has stored: records in a log of LevelDB's format after 7 bytes.

    The log has blocks of 32 KiB, in which each piece of a record has its checksum (4 bytes), its
    length (2) and its kind (1): whole, first, middle or last.
    """
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("run-*.wandb")
    stored, place, record = file.read_bytes(), 7, b""
    while place < len(stored):
        if 32768 - place % 32768 < 7:  # no room for a head
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", stored, place)
        record += stored[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(record)
            record = b""


def test_wandb_has_a_folder_for_each_trial_and_a_step_for_each_epoch(run: Path):
    folders = sorted((run / "wandb").glob("offline-run-*"))
    expected = records(run)
    seen = {}
    for folder in folders:
        stored = list(wandb_records(folder))
        (made,) = (r.run for r in stored if r.WhichOneof("record_type") == "run")
        steps = [r.history.step.num for r in stored if r.WhichOneof("record_type") == "history"]
        config = {
            ".".join(item.nested_key) or item.key: item.value_json for item in made.config.update
        }
        seen[made.display_name] = steps
        assert made.run_group == "first"
        assert {"model.backbone", "loss.negative_ratio"} <= config.keys()
        (left,) = (r.exit.exit_code for r in stored if r.WhichOneof("record_type") == "exit")
        assert left == int(expected[made.display_name][0] == "failed")
    assert len(folders) == len(expected)
    assert seen == {name: list(range(1, epochs + 1)) for name, (_, epochs) in expected.items()}


def test_nothing_is_tracked_unless_asked_for(tmp_path: Path):
    with tracking(make_run(tmp_path, SMOKE), pytest.fail) as listeners:
        assert listeners == []


@pytest.mark.parametrize("value", ["track=neptune", "track=[wandb,neptune]"])
def test_an_unknown_tracker_is_told_with_the_known_ones(value: str):
    with pytest.raises(InputError, match=r"track.*'mlflow' or 'wandb', got 'neptune'"):
        parse_arguments(["space=smoke", value])


def test_a_tracker_that_is_not_installed_is_told_with_the_command(monkeypatch):
    monkeypatch.setattr(tracker_names, "find_spec", lambda _: None)
    with pytest.raises(InputError) as caught:
        parse_arguments(["space=smoke", "track=[wandb,mlflow]"])
    assert str(caught.value) == (
        "track: wandb is not installed; run pip install -e '.[wandb]', or leave it out\n"
        "track: mlflow is not installed; run pip install -e '.[mlflow]', or leave it out"
    )
    assert parse_arguments(["space=smoke"])[0].track == ()


def test_a_tracker_that_needs_no_package_is_there(monkeypatch):
    monkeypatch.setattr(tracker_names, "PACKAGES", ("wandb",))
    monkeypatch.setattr(tracker_names, "find_spec", lambda _: None)
    (fault,) = tracker_names.not_installed(["mlflow", "wandb"])
    assert fault.startswith("track: wandb is not installed")


def test_a_tracker_named_twice_is_refused():
    with pytest.raises(InputError, match="track: must name each tracker once"):
        parse_arguments(["space=smoke", "track=[wandb,wandb]"])


class Broken:
    def begin(self, *_: object) -> None:
        raise ConnectionError("no route to\nhost")


def test_a_tracker_that_fails_is_told_once_and_left_out(tmp_path):
    run = make_run(tmp_path, SMOKE)
    lines: list[str] = []
    told = Tracking({"mlflow": Broken()}, run, lines.append)  # type: ignore[dict-item]
    for number in range(2):
        run.study.add(create_trial(state=TrialState.FAIL))
        told.ended(TrialJob(number, tmp_path, {}))
    told.close()
    assert lines == [
        "mlflow: ConnectionError: no route to host; this session tells it nothing more, and the "
        "run folder has everything"
    ]


def test_importing_the_search_imports_no_tracker():
    """(timm imports wandb by itself where it is there.)"""
    ours = "{'mlflow', 'orchestrator.track.mlflow', 'orchestrator.track.wandb'}"
    code = f"import sys, orchestrator.search; print({ours} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
