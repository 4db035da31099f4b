"""The search command from its arguments to its files, with a cheap trial for a training."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from optuna.storages import JournalStorage, RDBStorage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from detector.config.cli import guarded
from detector.core.errors import InputError, JobError
from orchestrator import report, search
from orchestrator.forecast.outlook import Outlook
from orchestrator.place import interruption, share
from orchestrator.place.resources import TrialResources
from orchestrator.results import live
from orchestrator.results.ranking import COLUMNS
from orchestrator.run import run_folder
from orchestrator.run.as_records import LATEST
from orchestrator.run.study import open_study
from orchestrator.space.search_space import load_space
from orchestrator.store.storage import storage_url
from orchestrator.track.tensorboard import METRICS

ROOT = Path(__file__).parents[2]
SPACE = """\
description: a space for tests
fixed:
  data.longest_side_px: 64
parameters:
  model.backbone: {choice: [resnet18, resnet34]}
  loss.negative_ratio: {uniform: [1.0, 8.0]}
warm_start:
  - {model.backbone: resnet34, loss.negative_ratio: 4.0}
budget: {trials: 2, epochs: 2, grace_epochs: 2, reduction_factor: 2}
"""


def cheap_trial(seconds=0.0):
    """Two epochs; a trial is the better the nearer its negative ratio is to 4."""

    def trial(job, report):
        best = job.folder / "checkpoint" / "best"
        best.mkdir(parents=True, exist_ok=True)
        hmean = 1 - abs(job.params["loss.negative_ratio"] - 4) / 10
        for epoch in (1, 2):
            time.sleep(seconds)
            (best / "model.safetensors").write_text(f"weights of trial {job.number}")
            (best / "config.yaml").write_text("model: {}\n")
            report(
                {
                    "epoch": epoch,
                    "finished": epoch == 2,
                    "hmean": hmean,
                    "best_hmean": hmean,
                    "best_epoch": 1.0,
                    "seconds": 2.0 * epoch,
                    "checkpoint": f"trials/{job.folder.name}/checkpoint/best",
                    "page_hmeans": {"a.jpg": hmean, "b.jpg": hmean},
                }
            )

    return trial


def failing_trial():
    def trial(job, _report):
        raise ValueError(f"trial {job.number} cannot work")

    return trial


@pytest.fixture(scope="module")
def data(tmp_path_factory, blank_pages) -> Path:
    root = tmp_path_factory.mktemp("data")
    return blank_pages(root, train=["page.jpg"], val=["page.jpg", "other.jpg"])


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with a space file; no cluster is joined."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SPACE)
    return tmp_path


def run(*arguments: str, trial=None) -> int:
    return search.main(["space=tiny.yaml", *arguments], trial=trial or cheap_trial())


@pytest.mark.usefixtures("ray_cluster")
def test_a_search_ends_with_a_leaderboard_the_best_model_and_what_to_do_next(folder, data, capfd):
    assert run(f"data.root={data}", "name=first", "resources.gpus_per_trial=0") == 0
    out, err = capfd.readouterr()
    made = folder / "runs" / "first"
    with (made / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[: len(COLUMNS)] == list(COLUMNS)
    assert [(r["rank"], r["trial"], r["state"]) for r in rows] == [
        ("1", "00000", "finished"),
        ("2", "00001", "finished"),
    ]
    assert (rows[0]["hmean"], rows[0]["model.backbone"]) == ("1.0", "resnet34")
    assert (made / "best" / "model.safetensors").read_text() == "weights of trial 0"
    assert sorted(p.name for p in (made / "best").iterdir()) == ["config.yaml", "model.safetensors"]
    names = {p.name for p in made.iterdir()}
    assert names == {
        *("config.yaml", "space.yaml", "study.db", "trials", "best", ".lock"),
        *("leaderboard.csv", "leaderboard.json", "report.html", "events.jsonl"),
    }
    assert "no GPU" in err
    assert not re.search(r"epoch 2/2 .* left$", out, re.MULTILINE)  # nothing is
    for line in ("tensorboard --logdir runs/first", "leaderboard.csv", "runs/first/best/"):
        assert line in out
    assert out.count("  python -m detector.") == 3
    check_tensorboard(made)
    check_report(made, capfd)
    check_resumed(made, data)


def check_tensorboard(made: Path) -> None:
    """Each trial is one run, with its settings and final score in the HParams tab."""
    folders = {p.parent for p in made.rglob("events.out.tfevents.*")}
    assert len(folders) == 2
    (best,) = (f for f in folders if f.name.startswith("00000"))
    assert best == made / "trials" / "00000_resnet34"
    events = EventAccumulator(str(best)).Reload()
    assert events.Scalars("final/hmean")[-1].value == 1.0
    tags = events.summary_metadata
    content = tags["_hparams_/session_start_info"].plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert started["model.backbone"].string_value == "resnet34"
    assert started["loss.negative_ratio"].number_value == 4.0
    content = tags["_hparams_/experiment"].plugin_data.content
    experiment = plugin_data_pb2.HParamsPluginData.FromString(content).experiment
    assert {m.name.tag for m in experiment.metric_infos} == {f"final/{name}" for name in METRICS}


def check_report(made: Path, capfd) -> None:
    """The report command makes the same files again."""
    before = (made / "leaderboard.csv").read_text()
    (made / "leaderboard.csv").unlink()
    assert report.main(report.ReportSettings(run=made)) == 0
    assert (made / "leaderboard.csv").read_text() == before
    assert "resnet34" in capfd.readouterr().out


def check_resumed(made: Path, data: Path) -> None:
    """A name is used once; a resumed run keeps its settings but may grow."""
    with pytest.raises(InputError, match=r"runs/first exists already.*name=first resume=true"):
        run(f"data.root={data}", "name=first")
    message = "budget.epochs: None in the interrupted run, 9 now"
    with pytest.raises(InputError, match=message):
        run("name=first", "resume=true", "budget.epochs=9")
    assert run("name=first", "resume=true") == 0
    assert run("name=first", "resume=true", "budget.trials=3", f"data.root={data}/./") == 0
    assert len(rows_of(made)) == 3
    assert run("name=first", "resume=true", "budget.trials=+1") == 0
    assert len(rows_of(made)) == 4
    assert run("name=first", "resume=true") == 0  # what it has grown to is remembered
    assert len(rows_of(made)) == 4
    with pytest.raises(InputError, match=r"budget.trials=\+N adds trials to a run that is resumed"):
        run(f"data.root={data}", "name=second", "budget.trials=+1")


def rows_of(made: Path) -> list[dict[str, str]]:
    with (made / "leaderboard.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("ray_cluster")
def test_a_limit_ends_a_search_and_a_larger_one_goes_on(folder, data, capfd):
    """The warm start is the best there can be, so nothing after it is better."""
    arguments = [f"data.root={data}", "resources.gpus_per_trial=0", "budget.trials=5"]
    assert run(*arguments, "name=cut", "budget.patience=1", "budget.concurrent=1") == 0
    err = capfd.readouterr().err
    assert "budget.patience: 1 trials after the best one were no better" in err
    assert "name=cut resume=true" in err
    assert len(rows_of(folder / "runs/cut")) < 5
    assert run("name=cut", "resume=true", "budget.patience=9", "budget.concurrent=1") == 0
    assert run_folder.stored_search(folder / "runs/cut").budget.patience == 9
    rows = rows_of(folder / "runs/cut")
    assert len(rows) == 5
    assert {r["state"] for r in rows} == {"finished"}


@pytest.mark.usefixtures("ray_cluster")
def test_a_search_ends_itself_where_nothing_more_is_to_come_and_goes_on_when_told(
    folder, data, capfd, monkeypatch
):
    """The warm start is perfect, so no hour brings anything; ten trials are tried all the same."""
    monkeypatch.setattr(search, "Outlook", partial(Outlook, every_s=0.0, most_share=1.0))
    monkeypatch.setattr(live, "EXPECTED_EVERY_S", 0.0)
    arguments = [f"data.root={data}", "resources.gpus_per_trial=0", "budget.trials=16"]
    settings = ["budget.stop=auto", "budget.worth=0.002", "budget.concurrent=1"]
    assert run(*arguments, "name=auto", *settings) == 0
    out, err = capfd.readouterr()
    assert "budget.stop=auto: after 1" in err
    assert "less than budget.worth=0.002; running trials keep their last epoch" in err
    assert "To go on, add a smaller budget.worth to\n  " in err
    assert "search: about " in out
    ended = len(rows_of(folder / "runs/auto"))
    assert 10 <= ended < 16
    assert run("name=auto", "resume=true", "budget.stop=full", "budget.worth=null") == 0
    assert len(rows_of(folder / "runs/auto")) == 16


def test_a_dry_run_shows_space_and_cost_and_writes_nothing(folder, data, capfd):
    small = ("augment.crop_px=64", "model.neck_channels=16", "train.batch_size=1")
    arguments = [f"data.root={data}", "resources.gpus_per_trial=0", "dry_run=true", *small]
    assert run(*arguments, "search.narrow.model.backbone=resnet18") == 0
    out = capfd.readouterr().out
    assert "loss.negative_ratio" in out
    assert "budget: 2 trials of up to 2 epochs; all are trained to the end" in out
    assert "resnet34" not in out
    assert "cost: 2 trials x 2 epochs x 1 steps" in " ".join(out.split())
    assert [p.name for p in folder.iterdir()] == ["tiny.yaml"]


@pytest.mark.usefixtures("folder")
def test_backbones_without_weights_are_told_before_a_search(data, monkeypatch, capfd, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    small = ("augment.crop_px=64", "model.neck_channels=16", "train.batch_size=1")
    arguments = [f"data.root={data}", "resources.gpus_per_trial=0", "dry_run=true", *small]
    assert run(*arguments, "model.weights=auto", "search.narrow.model.backbone=resnet18") == 0
    told = "trials with these backbones start from scratch\n  resnet18: HF_HUB_OFFLINE is set"
    assert told in capfd.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_step_that_cannot_be_measured_stops_no_search(data, monkeypatch):
    def killed(_configs, *, threads):
        raise JobError(f"no memory with {threads} threads")

    monkeypatch.setattr(share, "measured_apart", killed)
    space = load_space("tiny.yaml", gpu=False, overrides={"data.root": str(data)})
    assert share.cost_line(space, 7, TrialResources(3, 0, 1)) == (
        "cost: 2 trials x 2 epochs on 7 pages at most; not measured: no memory with 3 threads"
    )
    assert share.cost_line(space, 7, None).endswith("trials run on the cluster's machines")


NESTED = SPACE.replace("warm_start", "  postprocess.box_thresh: {uniform: [0.3, 0.6]}\nwarm_start")


@pytest.mark.usefixtures("ray_cluster")
def test_postprocessing_is_left_to_each_training_unless_it_is_searched_jointly(folder, data, capfd):
    (folder / "tiny.yaml").write_text(NESTED)
    arguments = [f"data.root={data}", "resources.gpus_per_trial=0"]
    assert run(*arguments, "name=nested") == 0
    assert (
        "chosen after each training, not sampled: postprocess.box_thresh" in capfd.readouterr().err
    )
    assert "postprocess.box_thresh" not in rows_of(folder / "runs/nested")[0]
    stored = load_space(str(folder / "runs/nested/space.yaml"), gpu=False)
    config = stored.train_config({"model.backbone": "resnet34", "loss.negative_ratio": 4.0})
    assert config.sweep.choose
    assert config.sweep.box_thresh[0] == 0.3
    assert run("name=nested", "resume=true", "budget.trials=+1") == 0

    assert run(*arguments, "name=joint", "postprocess=joint") == 0
    thresholds = [float(r["postprocess.box_thresh"]) for r in rows_of(folder / "runs/joint")]
    assert all(0.3 <= value <= 0.6 for value in thresholds)
    with pytest.raises(InputError, match=r"search.postprocess: 'joint' in the interrupted run"):
        run("name=joint", "resume=true", "postprocess=nested")


@pytest.mark.usefixtures("folder")
def test_choosing_settings_needs_two_validation_pages(data):
    with pytest.raises(InputError, match=r"val: choosing .* got 1; give more, or add postpr"):
        run(f"data.root={data}", "data.val_pages=1", "resources.gpus_per_trial=0")


PAUSING = SPACE.replace(
    "trials: 2, epochs: 2, grace_epochs: 2", "trials: 4, epochs: 2, grace_epochs: 1"
)


def pausing_trial():
    def trial(job, report):
        last = job.folder / "checkpoint" / "last.safetensors"
        last.parent.mkdir(parents=True, exist_ok=True)
        begun, previous = last.exists(), last.with_name("previous.safetensors")
        assert not previous.exists(), "a paused trial keeps one state"
        previous.write_text("the same before")
        last.write_text("weights and optimizer")
        hmean = 1 - abs(job.params["loss.negative_ratio"] - 4) / 10
        for epoch in range(2 if begun else 1, job.until + 1):
            report({"epoch": epoch, "best_hmean": hmean, "finished": epoch == 2})

    return trial


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("compare", ["epochs", "cost"])
def test_trials_that_are_over_keep_no_training_state_but_the_last_of_finished_ones(
    folder, data, capfd, compare
):
    (folder / "tiny.yaml").write_text(PAUSING)
    arguments = [f"data.root={data}", "resources.gpus_per_trial=0", "name=p", "budget.concurrent=1"]
    assert run(*arguments, f"search.compare={compare}", trial=pausing_trial()) == 0
    assert "trial 00000  paused" in capfd.readouterr().out
    rows = {r["trial"]: r for r in rows_of(folder / "runs/p")}
    states = {trial: row["state"] for trial, row in rows.items()}
    assert set(states.values()) == {"finished", "stopped"}
    assert states["00000"] == "finished"  # the warm start is the best there can be
    for trial, state in states.items():
        (made,) = folder.glob(f"runs/p/trials/{trial}_*")
        kept = [path.name for path in (made / "checkpoint").iterdir()]
        assert kept == (["last.safetensors"] if state == "finished" else [])
        assert list(made.glob("events.out.tfevents.*"))
        assert rows[trial]["epochs"] == ("2" if state == "finished" else "1")


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_is_what_its_folder_holds_whatever_its_name(folder, data):
    assert run(f"data.root={data}", "name=first", "resources.gpus_per_trial=0") == 0
    made = folder / "runs/first"
    board = (made / "leaderboard.csv").read_bytes()
    shutil.copytree(made, folder / "runs/copy")
    renamed = made.rename(folder / "runs/영수증 1")
    for place in (renamed, folder / "runs/copy"):
        assert report.main(report.ReportSettings(run=place)) == 0
        assert (place / "leaderboard.csv").read_bytes() == board
    assert run("name=copy", "resume=true", "budget.trials=+1") == 0
    assert [row["trial"] for row in rows_of(folder / "runs/copy")].count("00000") == 1
    assert len(rows_of(folder / "runs/copy")) == 3
    assert len(rows_of(renamed)) == 2


@pytest.mark.usefixtures("ray_cluster")
def test_a_space_that_was_edited_since_is_said_to_be_another(folder, data, capfd):
    Path("data").symlink_to(data)
    arguments = ["data.root=data", "resources.gpus_per_trial=0", "loss.threshold_weight=9"]
    assert run(*arguments, "name=first", "budget.trials=1") == 0
    capfd.readouterr()
    assert run("name=first", "resume=true") == 0
    assert "not what it was" not in capfd.readouterr().err
    edited = SPACE.replace("[1.0, 8.0]", "[1.0, 9.0]").replace("side_px: 64", "side_px: 96")
    more = "  optimizer.lr: {uniform: [0.001, 0.01]}\nwarm_start"
    (folder / "tiny.yaml").write_text(edited.replace("warm_start", more))
    assert run("name=first", "resume=true", "budget.trials=+1") == 0
    said = capfd.readouterr().err
    assert "tiny.yaml: this space is not what it was when the run began; runs/first goes on" in said
    assert re.findall(r"^  (\S+): (.+) in the run, (.+) in the file$", said, re.MULTILINE) == [
        ("loss.negative_ratio", "uniform [1.0, 8.0]", "uniform [1.0, 9.0]"),
        ("optimizer.lr", "not searched", "uniform [0.001, 0.01]"),
        ("data.longest_side_px", "64", "96"),
    ]
    assert "optimizer.lr" not in rows_of(folder / "runs/first")[0]
    (folder / "tiny.yaml").unlink()
    assert run("name=first", "resume=true") == 0
    assert "it cannot be read any more: space: no space or file" in capfd.readouterr().err


def test_a_report_of_a_study_that_is_not_there_changes_nothing(folder):
    made = folder / "runs/first"
    made.mkdir(parents=True)
    (made / "config.yaml").write_text("space: tiny\nname: first\n")
    (made / "space.yaml").write_text(SPACE)
    (made / "leaderboard.csv").write_text("rank,trial\n1,00000\n")
    url = storage_url(made, None)
    open_study(url, "other", resume=False)
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    with pytest.raises(InputError, match=r"holds no study called 'first' \(it holds other\)"):
        report.main(report.ReportSettings(run=made))
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


@pytest.mark.usefixtures("ray_cluster")
def test_another_run_gives_the_first_points(folder, data):
    arguments = [f"data.root={data}", "resources.gpus_per_trial=0"]
    assert run(*arguments, "name=one", "budget.trials=1") == 0
    other = SPACE.replace("4.0}", "2.0}")
    (folder / "tiny.yaml").write_text(other)
    assert run(*arguments, "name=two", "warm_start=runs/one") == 0
    ratios = {r["trial"]: r["loss.negative_ratio"] for r in rows_of(folder / "runs/two")}
    assert ratios == {"00000": "4.0", "00001": "2.0"}


@pytest.mark.usefixtures("ray_cluster")
def test_when_every_trial_fails_the_exit_code_is_1_and_reasons_are_given(folder, data, capfd):
    arguments = ["space=tiny.yaml", f"data.root={data}", "name=bad", "resources.gpus_per_trial=0"]
    assert guarded(lambda: search.main(arguments, trial=failing_trial())) == 1
    err = capfd.readouterr().err
    assert "trial 00000: ValueError: trial 0 cannot work" in err
    assert "trial 00001: ValueError: trial 1 cannot work" in err
    assert (folder / "runs" / "bad" / "leaderboard.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["space=tinny.yaml"], ["space: no space or file called 'tinny.yaml'"]),
        (["space=tiny.yaml", "seeed=1"], ["seeed: unknown key; did you mean seed"]),
        (
            ["space=tiny.yaml", "loss.min_negatives=-1", "train.batch_size=0"],
            ["loss.min_negatives", "train.batch_size"],
        ),
        (["space=tiny.yaml", "data.root=nowhere"], ["nowhere"]),
        (
            ["space=tiny.yaml", "data.root=DATA", "resources.cpus_per_trial=9999"],
            ["cpus_per_trial: 9999 is more than any machine has"],
        ),
        (
            [
                "space=tiny.yaml",
                "data.root=DATA",
                "train.device=cuda",
                "resources.gpus_per_trial=0",
            ],
            ["train.device: cuda needs a GPU per trial"],
        ),
        (["space=tiny.yaml", "name=ghost", "resume=true"], ["no run to resume at runs/ghost"]),
        (
            [
                *("space=tiny.yaml", "data.root=DATA", "budget.gpu_hours=2"),
                "resources.gpus_per_trial=0",
            ],
            ["budget.gpu_hours: trials hold no GPU here, so 2 would never be reached"],
        ),
        (
            ["space=tiny.yaml", "data.root=DATA", "budget.disk_gb=0.1"],
            ["budget.disk_gb: a trial with resnet18, the smallest network of the space, may take"],
        ),
        (
            ["space=tiny.yaml", "data.root=DATA", "targets.min_side_px=64"],
            ["split 'train': no word can be trained on", "split 'val': no word can be trained on"],
        ),
        (["space=tiny.yaml", "data.root=DATA", "name=../up"], ["name: must be a plain folder"]),
        (
            ["space=tiny.yaml", "data.root=nowhere", "runs_dir=tiny.yaml", "name=a"],
            ["runs_dir: tiny.yaml/a lies below tiny.yaml, which is a file; give another path"],
        ),
    ],
)
def test_wrong_input_is_refused_before_anything_is_made(folder, data, capfd, arguments, messages):
    given = [a.replace("DATA", str(data)) for a in arguments]
    assert guarded(lambda: search.main(given)) == 2
    err = capfd.readouterr().err
    assert all(message in err for message in messages)
    assert "Traceback" not in err
    assert sorted(p.name for p in folder.iterdir()) == ["tiny.yaml"]


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("budget.gpu_hours=2", "budget.gpu_hours: trials hold no GPU here, so 2 would never be"),
        ("budget.disk_gb=0.1", "budget.disk_gb: a trial with resnet18, the smallest network of"),
    ],
)
def test_a_dry_run_refuses_the_limits_that_the_search_would(folder, data, capfd, limit, message):
    given = ["space=tiny.yaml", f"data.root={data}", "resources.gpus_per_trial=0", limit]
    assert guarded(lambda: search.main([*given, "dry_run=true"])) == 2
    assert message in capfd.readouterr().err
    assert sorted(p.name for p in folder.iterdir()) == ["tiny.yaml"]


def test_both_splits_are_checked_before_anything_is_made(folder, tmp_path):
    (tmp_path / "half" / "images").mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        run("data.root=half", "resources.gpus_per_trial=0")
    assert "train" in str(caught.value)
    assert "val" in str(caught.value)
    assert not (folder / "runs").exists()


def test_a_run_is_worked_on_by_one_search_at_a_time(tmp_path):
    with (
        run_folder.locked(tmp_path),
        pytest.raises(InputError, match="another search is working on"),
        run_folder.locked(tmp_path),
    ):
        pass
    with run_folder.locked(tmp_path):
        pass


def test_report_of_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"is not a run's folder \(config.yaml or space.yaml"):
        report.main(report.ReportSettings(run=tmp_path))


def test_an_interrupt_that_was_swallowed_is_raised_again():
    """As happens when the signal arrives inside a finalizer or a callback from C."""
    with interruption.Interruption() as asked:
        asked.step()
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            asked.step()


@pytest.mark.parametrize("storage", ["null", "journal"])
@pytest.mark.usefixtures("ray_cluster")
def test_what_was_written_when_a_signal_came_is_in_the_leaderboard(
    folder, data, monkeypatch, storage
):
    """The signal arrives behind a write to the storage, before it is known in memory."""
    kind = JournalStorage if storage == "journal" else RDBStorage
    write = kind.set_trial_user_attr

    def interrupted(stored, number, key, value):
        write(stored, number, key, value)
        if key == LATEST:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(kind, "set_trial_user_attr", interrupted)
    given = [f"data.root={data}", "name=cut", "resources.gpus_per_trial=0", f"storage={storage}"]
    assert run(*given) == 130
    made = folder / "runs" / "cut"
    rows = csv.DictReader((made / "leaderboard.csv").open())
    url = storage_url(made, storage if storage == "journal" else None)
    stored = open_study(url, "cut", resume=True)
    written = {record.trial: str(record.epochs) for record in stored.records()}
    assert {row["trial"]: row["epochs"] for row in rows} == written
    assert "1" in written.values()


def interrupted_search(data: str) -> int:
    """What the next test runs and interrupts, in a process of its own."""
    arguments = ["space=tiny.yaml", f"data.root={data}", "name=cut", "resources.gpus_per_trial=0"]
    return guarded(lambda: search.main(arguments, trial=cheap_trial(seconds=30)))


@pytest.mark.usefixtures("ray_cluster")
def test_ctrl_c_saves_the_state_and_says_how_to_go_on(folder, data, wait_for):
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); "
        f"sys.exit(runpy.run_path({__file__!r})['interrupted_search']({str(data)!r}))"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(
            lambda: list(folder.glob("runs/cut/trials/*/checkpoint")),
            "the first trial's folder",
            while_=lambda: started.poll() is None,
            told=lambda: started.stderr.read(),
        )
        started.send_signal(signal.SIGINT)
        _, err = started.communicate()
    finally:
        started.kill()
    assert started.returncode == 130
    assert "python -m orchestrator.search space=tiny.yaml name=cut resume=true" in err
    assert "Traceback" not in err
    assert run("name=cut", "resume=true") == 0
    rows = list(csv.DictReader((folder / "runs/cut/leaderboard.csv").open()))
    assert [r["state"] for r in rows] == ["finished", "finished"]
