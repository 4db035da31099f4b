from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from detector.config.settings import TrainConfig
from detector.inference.checkpoint import read_best, save_best
from orchestrator.results.write import copy_best, write_results
from orchestrator.trials.records import TrialRecord, TrialState


def record(trial: str, state: TrialState, hmean: float | None, **values: object) -> TrialRecord:
    return TrialRecord(trial, state, {"optimizer.lr": 0.0012345}, hmean, **values)  # type: ignore[arg-type]


def test_best_is_replaced_whole_and_leaves_nothing_behind(tmp_path: Path):
    for name, text in (("a", "first"), ("b", "second")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(text)
        copy_best(tmp_path / name, tmp_path / "best")
        assert (tmp_path / "best" / "model.safetensors").read_text() == text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "best"]


WRITER = """\
import sys
from pathlib import Path
import torch
import detector.core.folders
from detector.inference.checkpoint import save_best
from detector.config.settings import TrainConfig, with_values

torch.set_num_threads(1)
folder, swaps, stop = Path(sys.argv[1]), sys.argv[2] == "swaps", Path(sys.argv[3])
if not swaps:
    detector.core.folders._exchanged = lambda one, other: False
epoch = 0
while not stop.exists():
    epoch += 1
    model = torch.nn.Linear(100, 100)
    torch.nn.init.constant_(model.bias, epoch)
    config = with_values(TrainConfig(), {"train.seed": epoch})
    save_best(folder, model.state_dict(), config, {})
print(epoch)
"""


@pytest.mark.parametrize("how", ["swaps", "renames"])  # as Linux's own file systems, as NFS
def test_best_is_of_one_epoch_while_a_training_goes_on(tmp_path: Path, how: str):
    source, target = tmp_path / "trial" / "best", tmp_path / "run" / "best"
    first = torch.nn.Linear(100, 100)
    torch.nn.init.zeros_(first.bias)
    save_best(source, first.state_dict(), TrainConfig(), {})
    stop = tmp_path / "stop"
    command = [sys.executable, "-c", WRITER, str(source), how, str(stop)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    seen: list[int] = []
    try:
        while len(set(seen)) < 20 and writer.poll() is None:
            copy_best(source, target)
            for folder in (target, source) if how == "swaps" else (target,):
                weights, config = read_best(folder)
                assert config.train.seed == int(weights["bias"][0])
            seen.append(read_best(target)[1].train.seed)
    finally:
        stop.touch()
    last, _ = writer.communicate()
    assert writer.returncode == 0
    assert seen == sorted(seen)
    copy_best(source, target)
    assert read_best(target)[1].train.seed == int(last)
    for folder in (source.parent, target.parent):
        found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))
        assert found == ["best", "best/config.yaml", "best/model.safetensors"]


def test_results_follow_the_best_trial(tmp_path: Path):
    for name in ("00000", "00001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(name)
    worse = record("00000", TrialState.FINISHED, 0.8, checkpoint="00000")
    better = record("00001", TrialState.FINISHED, 0.9, checkpoint="00001")
    write_results(tmp_path, [worse], ["optimizer.lr"])
    assert (tmp_path / "best" / "model.safetensors").read_text() == "00000"
    write_results(tmp_path, [worse, better], ["optimizer.lr"])
    assert (tmp_path / "best" / "model.safetensors").read_text() == "00001"
    assert (tmp_path / "leaderboard.csv").read_text().splitlines()[1].startswith("1,00001,finished")
