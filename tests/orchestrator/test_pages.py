"""The curve over the number of pages of small searches, by the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cut_off import noting_trial
from made_run import Made
from optuna.trial import TrialState

from detector.core.errors import InputError, JobError
from detector.inference.checkpoint import read_best
from orchestrator import search
from orchestrator.page_parts.kept import FILE
from orchestrator.pages import PagesSettings, main
from orchestrator.place.interruption import INTERRUPTED
from orchestrator.run.run_folder import CONFIG
from orchestrator.run.trial_data import training_pages

SPACE = """\
description: a space for tests
fixed: {optimizer.lr: 5.0e-3, optimizer.ema_decay: 0.9, train.device: cpu,
  sweep.box_thresh: [0.2, 0.3]}
parameters:
  loss.negative_ratio: {uniform: [1.0, 8.0]}
warm_start:
  - {loss.negative_ratio: 3.0}
  - {loss.negative_ratio: 4.0}
budget: {trials: 2, epochs: 2, grace_epochs: 2, reduction_factor: 2}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_dataset: Callable[..., Path]) -> Path:
    root = make_dataset(tmp_path_factory.mktemp("data"), split="train", pages=9)
    return make_dataset(root, split="val", pages=4, seed=1)


@pytest.fixture
def searched(
    data: Path, tiny_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """`searched("key=value", ...)`: the folder of a run with real trainings."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SPACE)

    def run(*arguments: str) -> Path:
        given = [f"{key}={value}" for key, value in tiny_settings.items()]
        own = ["space=tiny.yaml", "name=r", f"data.root={data}", "resources.gpus_per_trial=0"]
        assert search.main([*own, *given, *arguments]) == 0
        return tmp_path / "runs/r"

    return run


def trained(run: Path) -> list[str]:
    """Names of the trainings on parts of the pages."""
    return sorted(path.parent.name for path in run.glob("trials/*/pages/*/checkpoint"))


@pytest.mark.usefixtures("ray_cluster")
def test_parts_are_trained_as_long_as_the_whole_and_told_as_a_curve(searched, capfd):
    run = searched("confirm.top=1", "confirm.seeds=1")
    capfd.readouterr()
    assert main(PagesSettings(run=run)) == 0
    out, err = capfd.readouterr()
    assert "cost: 2 of 2 trainings are to do" in err
    assert trained(run) == ["2-of-9", "4-of-9"]
    configs = [
        read_best(path.parent)[1] for path in sorted(run.glob("trials/*/pages/*/checkpoint"))
    ]
    # Five steps of two pages in an epoch of nine; one of two, and two of four.
    assert [c.train.epochs for c in configs] == [10, 4]
    assert [c.train.eval_every for c in configs] == [5, 2]
    assert [c.optimizer.warmup_epochs for c in configs] == [2.5, 1.0]
    assert [c.train.seed for c in configs] == [1, 1]  # that of the confirmation
    few, more = ({page.name for page in training_pages(c.data)} for c in configs)
    assert few < more
    curve = json.loads((run / FILE).read_text())["curve"]
    assert [point["pages"] for point in curve["points"]] == [2, 4, 9]
    assert [point["epochs"] for point in curve["points"]] == [10, 4, 2]
    assert (curve["validation_pages"], curve["twice"]["pages"]) == (4, 18)
    assert curve["sentence"] in out
    assert "Twice the training pages, 18, are expected to bring" in curve["sentence"]
    assert curve["sentence"] in (run / "report.html").read_text()
    assert main(PagesSettings(run=run)) == 0  # nothing is trained again
    assert "trainings are to do" not in capfd.readouterr().err
    assert json.loads((run / FILE).read_text())["curve"] == curve


@pytest.mark.usefixtures("ray_cluster")
def test_what_was_cut_off_or_failed_goes_on_where_it_was(searched, capfd):
    run = searched("budget.trials=1")
    capfd.readouterr()
    one = PagesSettings(run=run, halvings=1)
    assert main(one, trial=noting_trial("data.train_pages", interrupts=True)) == INTERRUPTED
    assert f"python -m orchestrator.pages run={run} halvings=1" in capfd.readouterr().err
    two = PagesSettings(run=run)
    with pytest.raises(JobError, match=r"said .*\n4 pages: ValueError: these pages cannot be"):
        main(two, trial=noting_trial("data.train_pages", failing=4))
    # Of the trial itself, as nothing was chosen, there is no other seed; half of 9 is twice 2.
    starts = {p.parent.name: p.read_text() for p in run.glob("trials/*/pages/*/starts.txt")}
    assert starts == {"4-of-9": "0\n1\n", "2-of-9": "0\n"}
    assert list(json.loads((run / FILE).read_text())["trainings"]) == ["trials/00000/pages/2-of-9"]
    capfd.readouterr()
    with pytest.raises(JobError, match="these pages cannot be"):
        main(two, trial=noting_trial("data.train_pages", failing=4))
    assert "cost: 1 of 2 trainings are to do" in capfd.readouterr().err


def test_a_run_without_a_whole_training_is_one_message(make_run: Callable[..., Made]):
    made = make_run()
    (made.folder / CONFIG).write_text(json.dumps({"space": "mine", "name": "run"}))
    made.add(TrialState.PRUNED, [0.3])
    with pytest.raises(InputError, match="no trial that was trained to the end, of 1"):
        main(PagesSettings(run=made.folder))
