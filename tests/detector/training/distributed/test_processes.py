"""Several real processes against one: the same steps, the same scores, the same ends."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import works  # started processes look for it in the sys.path of this one
from safetensors.torch import load_file

from detector.config.settings import TrainConfig
from detector.core.errors import InputError, JobError
from detector.training.distributed.peers import ALONE
from detector.training.distributed.processes import device_of, shared, threads_of
from detector.training.epoch_end import EpochReport
from detector.training.trainer import train

SHORT = ("forward", "backward")  # where a process runs out of memory


def truncate(image: Path) -> None:
    content = image.read_bytes()
    image.write_bytes(content[: len(content) * 2 // 3])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable) -> Path:
    """Five training pages and seven of validation; one of each has an unreadable image."""
    folder = tmp_path_factory.mktemp("shared")
    make_dataset(folder, split="train", pages=5)
    make_dataset(folder, split="val", pages=7, seed=1)
    truncate(folder / "images/train/train_002.jpg")
    truncate(folder / "images/val/val_005.jpg")
    return folder


@pytest.fixture(scope="module")
def both(root: Path, trained: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What three processes found, and one on its own."""
    arguments = (trained, root)
    with shared(3, cuda=False, work=works.everything, arguments=arguments) as peers:
        several = works.everything(peers, *arguments)
    assert multiprocessing.active_children() == []
    return several, works.everything(ALONE, *arguments)


@pytest.mark.parametrize(
    "case", [k for k, (_, _, fails) in works.CASES.items() if fails not in SHORT]
)
def test_several_processes_take_the_steps_of_one(both: Any, case: str):
    several, one = both[0][case], both[1][case]
    torch.testing.assert_close(several["losses"], one["losses"], rtol=1e-5, atol=1e-6)
    assert several["state"].keys() == one["state"].keys()
    for name, value in several["state"].items():
        torch.testing.assert_close(value, one["state"][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("case", "parts"), [("even", 1), ("even parts", 2), ("uneven parts", 3)])
def test_a_step_exchanges_what_it_must(both: Any, case: str, parts: int):
    """Two for each of two batch norms and one for each of three losses a part, without barriers.

    One more for the crops of each process, one for gradients and one for the unused ones.
    """
    assert both[0][case]["exchanges"] == (2 * 2 + 3) * parts + 3
    assert both[1][case]["exchanges"] == 0


@pytest.mark.parametrize("case", SHORT)
def test_all_halve_when_one_runs_out_of_memory(both: Any, case: str):
    several, one = both[0][case], both[1]["even parts"]
    assert several["parts"] == 2
    assert several["said"] == [
        "out of memory with 2 crops at once: from here on 1 at once, with the gradients of 6 "
        "added up before each step"
    ]
    for name, value in several["state"].items():
        torch.testing.assert_close(value, one["state"][name], rtol=1e-4, atol=1e-6)


def test_a_batch_without_any_crop_takes_no_step(both: Any):
    assert both[0]["no crop"] is both[1]["no crop"] is None


def test_a_validation_in_parts_is_that_of_one_process_exactly(both: Any):
    several, one = (b["validated"] for b in both)
    assert (several.figures, several.page_hmeans) == (one.figures, one.page_hmeans)
    np.testing.assert_array_equal(several.swept.page_scores, one.swept.page_scores)
    assert several.figures["hmean"] > 0
    assert {"tuned_hmean", "crossfit_hmean"} <= several.figures.keys()
    assert several.told.skipped == one.told.skipped
    assert len(one.told.skipped) == 1
    assert "val_005.jpg" in one.told.skipped[0]
    for found in (several, one):
        assert [shown.page.name for shown in found.told.shown] == ["val_000.jpg", "val_001.jpg"]


def test_settings_chosen_in_parts_are_those_of_one_process_exactly(both: Any):
    several, one = (b["chosen"] for b in both)
    assert (several.figures, several.page_hmeans) == (one.figures, one.page_hmeans)
    assert several.tuned == one.tuned
    assert several.figures["hmean"] == both[0]["validated"].figures["crossfit_hmean"] > 0


def test_the_leader_tells_and_gathers(both: Any):
    assert [b["told"] for b in both] == ["by 0", "by 0"]
    assert [b["gathered"] for b in both] == [[0, 1, 2], [0]]


@pytest.mark.parametrize("reason", works.WAYS_TO_END)
def test_the_end_of_a_process_is_told_while_its_loader_lives(reason: str, tmp_path: Path):
    def lead() -> None:
        work, arguments = works.WAYS_TO_END[reason], (tmp_path,)
        with shared(2, cuda=False, work=work, arguments=arguments) as peers:
            works.wait(peers)

    with pytest.raises(JobError, match=rf"process 2 of 2 \(train\.processes\) .*{reason}"):
        lead()
    assert not (tmp_path / works.LOADER_ENDED).exists()
    assert multiprocessing.active_children() == []


def test_memory_that_ends_within_a_step_ends_all(tmp_path: Path):
    def lead() -> None:
        work, arguments = works.runs_short_later, (tmp_path,)
        with shared(3, cuda=False, work=work, arguments=arguments) as peers:
            works.runs_short_later(peers, tmp_path)

    message = r"^process 2 of 3 \(train\.processes\) ended: out of memory: .*use a smaller"
    with pytest.raises(JobError, match=message):
        lead()
    assert multiprocessing.active_children() == []


def test_a_fault_of_the_leader_is_its_own():
    def lead() -> None:
        with shared(2, cuda=False, work=works.wait, arguments=()) as peers:
            peers.told(True)
            raise RuntimeError("a fault of the program")

    with pytest.raises(RuntimeError, match=r"^a fault of the program$"):
        lead()
    assert multiprocessing.active_children() == []


def test_a_failing_leader_ends_the_others():
    def lead() -> None:
        with shared(3, cuda=False, work=works.wait, arguments=()) as peers:
            peers.told(True)
            assert len(multiprocessing.active_children()) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lead()
    assert multiprocessing.active_children() == []


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "last.safetensors")


@pytest.mark.slow
def test_a_training_by_two_is_that_of_one_and_goes_on_by_any_number(
    tiny: Callable[..., TrainConfig], root: Path, tmp_path: Path
):
    """SGD, since AdamW makes whole steps of gradients that are 0 but for their rounding."""
    values = {"data.root": root, "train.epochs": 2, "augment.crop_px": 96, "train.batch_size": 2}
    values |= {"optimizer.name": "sgd", "optimizer.lr": 1e-3, "optimizer.momentum": 0.0}
    lines: list[str] = []
    reports: list[EpochReport] = []
    one = train(tiny(values), tmp_path / "one", log=lines.append)
    said = len(lines)

    def stop(done: EpochReport) -> None:
        reports.append(done)
        raise KeyboardInterrupt

    by_two = tiny(values | {"train.processes": 2})
    with pytest.raises(KeyboardInterrupt):
        train(by_two, tmp_path / "two", report=stop, log=lines.append)
    assert multiprocessing.active_children() == []
    skipped = [line for line in lines[said:] if "train_002.jpg" in line]
    assert len(skipped) == 1
    shutil.copytree(tmp_path / "two", tmp_path / "alone")
    two = train(by_two, tmp_path / "two", resume=True, log=lines.append)
    alone = train(tiny(values), tmp_path / "alone", resume=True, log=lines.append)
    expected = weights(tmp_path / "one")
    for last, folder in ((two, "two"), (alone, "alone")):
        assert last.epoch == 2
        assert last.metrics["skipped"] == one.metrics["skipped"] == 1
        assert last.metrics["loss/total"] == pytest.approx(one.metrics["loss/total"], rel=1e-3)
        assert {k: v for k, v in last.metrics.items() if "hmean" in k} == {
            k: v for k, v in one.metrics.items() if "hmean" in k
        }
        found = weights(tmp_path / folder)
        for name in (k for k in expected if k.startswith("model/") and k.endswith("weight")):
            torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_two_processes_pause_together_and_go_on(
    tiny: Callable[..., TrainConfig], root: Path, tmp_path: Path
):
    values = {"data.root": root, "train.epochs": 3, "train.batch_size": 2, "train.processes": 2}
    config = tiny(values | {"augment.crop_px": 96})
    straight = train(config, tmp_path / "straight", log=lambda _: None)
    first = train(config, tmp_path / "parts", until=1, log=lambda _: None)
    assert (first.epoch, first.finished) == (1, False)
    assert multiprocessing.active_children() == []
    last = train(config, tmp_path / "parts", resume=True, log=lambda _: None)
    assert last.metrics["loss/total"] == straight.metrics["loss/total"]
    one, parts = weights(tmp_path / "straight"), weights(tmp_path / "parts")
    assert [name for name in one if not torch.equal(one[name], parts[name])] == []


def test_a_gpu_each_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    message = (
        r"train\.processes: 4 processes need 4 GPUs, one each, and torch sees 2; use "
        r"train\.processes=2, or train\.device=cpu"
    )
    with pytest.raises(InputError, match=message):
        device_of("auto", 0, 4)
    assert device_of("cpu", 3, 4) == torch.device("cpu")
    assert device_of("cuda", 0, 1) == torch.device("cuda")


def test_threads_are_shared_unless_they_are_given():
    assert threads_of(3, 8) == 3
    assert threads_of(None, 1) is None
    assert threads_of(None, 1000) == 1


def test_more_processes_than_crops_are_refused(tiny: Callable[..., TrainConfig]):
    with pytest.raises(InputError, match=r"processes must not exceed batch_size.*got 3 and 2"):
        tiny({"train.processes": 3})
