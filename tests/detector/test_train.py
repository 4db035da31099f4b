from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from detector.config.cli import run
from detector.config.settings import TrainConfig
from detector.core.files import locked
from detector.inference.checkpoint import read_best
from detector.train import TrainSettings, main
from detector.training.epoch_end import EpochReport
from detector.training.storage.provenance import read_record
from detector.training.trainer import train


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        run(main, TrainSettings, program="x", description="", arguments=arguments)
    return int(stop.value.code or 0)


def test_a_config_file_is_trained_with_what_the_command_line_changes(
    tiny: Callable[..., TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(tiny().model_dump(mode="json")))
    out = tmp_path / "out"
    assert command(f"config={file}", "train.epochs=2", "train.seed=5", f"output={out}") == 0
    config = read_best(out)[1]
    assert (config.train.epochs, config.train.seed) == (2, 5)
    assert config.model == tiny().model
    said = capsys.readouterr().err
    assert "epoch 2/2" in said
    assert f"python -m detector.evaluate checkpoint={out}/checkpoint/best" in said

    # A finished training is not touched by accident, and resuming it does nothing.
    arguments = (f"config={file}", "train.epochs=2", "train.seed=5", f"output={out}")
    assert command(*arguments) == 2
    assert "holds a training already; add resume=true" in capsys.readouterr().err
    assert command(*arguments, "resume=true", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["epochs"], answer["weights"]) == (2, str(out / "checkpoint/best"))
    assert 0 <= answer["metrics"]["best_hmean"] <= 1
    assert command(*arguments, "resume=true", "optimizer.lr=0.1") == 2
    assert "optimizer.lr: 0.003 when it was saved, 0.1 now" in capsys.readouterr().err


def test_a_finished_training_goes_on_for_longer_and_is_repeated_so(
    tiny: Callable[..., TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The rates are those of its second schedule: of 4 pages in batches of 2, so 2 steps each."""
    file, out = tmp_path / "config.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(tiny().model_dump(mode="json")))
    given = (f"config={file}", f"output={out}")
    assert command(*given, "train.epochs=2") == 0
    assert command(*given, "train.epochs=4", "resume=true") == 0

    def rate(step: int, epochs: int) -> float:
        t = (step - 1) / (2 * epochs - 1)  # half an epoch of warm-up is one step
        return 3e-3 * (0.01 + 0.99 * (1 + math.cos(math.pi * t)) / 2)

    said = capsys.readouterr().err
    expected = f"the next learning rate is {rate(4, 4):.3g}, the last one was {rate(3, 2):.3g}"
    assert f"going on from 2 to 4 epochs (optimizer.schedule=cosine): {expected}" in said
    assert "epoch 4/4" in said
    record = read_record(out)
    assert (record.config.train.epochs, record.extended) == (2, (4,))

    for epochs, done in ((3, 4), (1, 4)):
        assert command(*given, f"train.epochs={epochs}", "resume=true") == 2
        said = capsys.readouterr().err
        assert f"train.epochs: 4 when it was saved, {epochs} now" in said
        assert f"more epochs can follow when all are done: here {done} of 4 are" in said

    again = tmp_path / "again"
    assert command(f"from={out}", f"output={again}") == 0
    assert "reproduced: H-mean 0." in capsys.readouterr().err
    assert read_record(again).extended == (4,)
    assert same(last(again), last(out))
    (again / "checkpoint" / "last.safetensors").unlink()  # after epoch 3 it is interrupted
    assert command(f"from={out}", f"output={again}", "resume=true") == 0
    assert same(last(again), last(out))


def last(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "last.safetensors")


def test_a_second_training_in_a_folder_is_refused_and_says_who_is_there(
    tiny: Callable[..., TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Before it has read or deleted anything there."""
    file, out = tmp_path / "config.yaml", tmp_path / "my runs" / "one"
    file.write_text(yaml.safe_dump(tiny().model_dump(mode="json")))
    left = out / "checkpoint" / ".last.safetensors.0123abcd.tmp"
    left.parent.mkdir(parents=True)
    left.touch()  # as the first one has while it writes
    with locked(out, "", pytest.fail):
        for more in ("train.epochs=1", "resume=true"):
            assert command(f"config={file}", f"output={out}", more) == 2
    said = capsys.readouterr().err
    who = f"process {os.getpid()} on {socket.gethostname()}"
    assert f"output: another training is at work in {out} ({who}); wait for it, stop it" in said
    assert [path for path in out.rglob("*") if path.is_file()] == [out / ".lock", left]
    assert command(f"config={file}", f"output={out}", "train.epochs=1") == 0
    printed = capsys.readouterr()
    rows = [shlex.split(line) for line in (printed.out + printed.err).splitlines() if "  " in line]
    told = {row[0]: row for row in rows if row[0] in ("score:", "use:", "curves:")}
    assert f"checkpoint={out}/checkpoint/best" in told["score:"]
    assert f"checkpoint={out}/checkpoint/best" in told["use:"]
    assert told["curves:"][-1] == str(out)


def test_without_data_it_says_what_to_add(capsys: pytest.CaptureFixture[str]):
    assert command() == 2
    assert "data.root: no dataset folder given; add data.root=FOLDER" in capsys.readouterr().err


@pytest.fixture(scope="module")
def search_run(tiny: Callable[..., TrainConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as a search leaves it: trial 0 is finished, trial 1 was stopped after two epochs.

    Only the last epoch of trial 0 is validated, so that its best weights are those of the end.
    """

    def stop(report: EpochReport) -> None:
        if report.epoch == 2:
            raise KeyboardInterrupt

    folder = tmp_path_factory.mktemp("runs") / "first"
    settings = {"train.threads": None, "train.epochs": 4, "optimizer.ema_decay": 0.5}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a search does, which is no setting of the training
    first = tiny(settings | {"train.eval_every": 4})
    train(first, folder / "trials" / "00000_x", log=lambda _: None)
    second = tiny(settings | {"train.eval_every": 2})
    with pytest.raises(KeyboardInterrupt):
        train(second, folder / "trials" / "00001_x", report=stop, log=lambda _: None)
    torch.set_num_threads(threads)
    return folder


def best(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "best" / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("trial", ["0", "00000"])
def test_a_trial_is_repeated_from_its_record_to_the_bit(
    search_run: Path, tmp_path: Path, trial: str, capsys: pytest.CaptureFixture[str]
):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    out = tmp_path / "again"
    assert command(f"from={search_run}", f"trial={trial}", f"output={out}") == 0
    torch.set_num_threads(threads)
    assert same(best(out), best(search_run / "trials" / "00000_x"))
    said = capsys.readouterr().err
    assert "reproduced: H-mean 0." in said
    assert "as recorded, and the best weights (epoch 4) have the same bits" in said
    assert "in the record" not in said


def test_a_record_alone_is_enough_to_train_again(
    search_run: Path, drawn_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    original = search_run / "trials" / "00000_x"
    (tmp_path / "kept").mkdir()
    shutil.copy(original / "record.json", tmp_path / "kept")
    data = shutil.copytree(drawn_root, tmp_path / "data")
    out = tmp_path / "again"
    placed = (f"data.root={data}", f"data.cache={tmp_path / 'pages'}", "train.sweep=false")
    assert command(f"from={tmp_path / 'kept'}", f"output={out}", *placed) == 0
    assert same(best(out), best(original))
    said = capsys.readouterr().err
    assert "kept has no weights to compare with" in said
    assert "data.cache" not in said  # which decides no bits
    assert command(f"from={out}", f"output={tmp_path / 'third'}") == 0
    assert "reproduced: H-mean" in capsys.readouterr().err


def test_a_stopped_trial_is_compared_in_the_epochs_it_had(
    search_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert command(f"from={search_run}", "trial=1", f"output={tmp_path / 'out'}") == 0
    said = capsys.readouterr().err
    assert "epoch 4/4" in said
    assert "reproduced (in the 2 epochs that it had): H-mean" in said
    assert same(best(tmp_path / "out"), best(search_run / "trials" / "00001_x"))


def test_what_is_no_longer_there_is_not_compared(
    search_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Resumed when better weights than those of the stopped trial were kept already."""
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(search_run / "trials" / "00000_x", source)
    last = source / "checkpoint" / "last.safetensors"
    with safe_open(last, framework="pt") as file:
        state = json.loads(file.metadata()["state"])
    state["epoch"] = state["metrics"]["best_epoch"] = 1
    save_file(load_file(last), last, {"state": json.dumps(state)})
    shutil.copytree(search_run / "trials" / "00000_x", out)
    assert command(f"from={source}", f"output={out}", "resume=true") == 0
    assert "not compared: this training was resumed when it was" in capsys.readouterr().err


def test_other_weights_than_recorded_are_a_failure_that_says_how_they_differ(
    search_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    source = Path(shutil.copytree(search_run / "trials" / "00000_x", tmp_path / "copy"))
    tensors = best(source)
    name = next(name for name in tensors if tensors[name].is_floating_point())
    tensors[name] = tensors[name] + 0.5
    save_file(tensors, source / "checkpoint" / "best" / "model.safetensors")
    assert command(f"from={source}", f"output={tmp_path / 'out'}") == 1
    said = capsys.readouterr().err
    assert "failed: differs: H-mean 0." in said
    assert f"1 of {len(tensors)} tensors of the best weights are not the same, by up to 0.5" in said


@pytest.mark.parametrize(("split", "kept"), [("train", "val"), ("val", "train")])
def test_changed_annotations_are_refused_by_split(
    search_run: Path,
    drawn_root: Path,
    tmp_path: Path,
    split: str,
    kept: str,
    capsys: pytest.CaptureFixture[str],
):
    data = Path(shutil.copytree(drawn_root, tmp_path / "data"))
    file = data / "jsons" / f"{split}.json"
    content = json.loads(file.read_text())
    content["images"][f"{split}_000.jpg"]["words"]["0002"]["ignore"] = True
    file.write_text(json.dumps(content))
    out = tmp_path / "out"
    assert command(f"from={search_run}", "trial=0", f"data.root={data}", f"output={out}") == 2
    said = capsys.readouterr().err
    assert f"split '{split}': words have other outlines, texts or ignore flags" in said
    assert f"split '{kept}'" not in said
    assert "data.root, data.exclude, model.weights or train.init" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trial=0", "train.seed=1", "loss.negative_ratio=2"), "loss.negative_ratio, train.seed: "),
        (("trial=0", "config=config.yaml"), "config: a training is repeated with the settings of"),
        (("trial=2",), "has no trial 2, one of 00000_x, 00001_x"),
        (("trial=x",), "trial: must be the number of a trial such as 3 or 00003, got 'x'"),
        ((), "is the run of a search; add trial=ID, one of 00000_x, 00001_x"),
    ],
)
def test_what_cannot_be_repeated_is_refused(
    search_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("train: {seed: 1}")
    assert command(f"from={search_run}", f"output={tmp_path / 'out'}", *arguments) == 2
    assert message in capsys.readouterr().err


def test_folders_without_what_is_needed_are_refused(
    search_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def refused(*arguments: str) -> str:
        assert command(*arguments, f"output={tmp_path / 'out'}") == 2
        return capsys.readouterr().err

    original = search_run / "trials" / "00000_x"
    assert "record.json: no such file; a training writes it" in refused(f"from={tmp_path}")
    assert "has no folder of trials" in refused(f"from={original}", "trial=0")
    assert "trial: names a trial of a run to repeat; add from=" in refused("trial=0")
    for name in ("00000_a", "00000_b"):
        (tmp_path / "run" / "trials" / name).mkdir(parents=True)
    said = refused(f"from={tmp_path / 'run'}", "trial=0")
    assert "trial: 0 could be 00000_a or 00000_b; choose by the folder" in said
    assert command(f"from={original}", f"output={original}", "resume=true") == 2
    assert "is the training to repeat; choose another folder" in capsys.readouterr().err
    broken = Path(shutil.copytree(original, tmp_path / "broken"))
    (broken / "checkpoint" / "last.safetensors").write_bytes(b"nothing")
    assert "not the state of a training" in refused(f"from={broken}")
