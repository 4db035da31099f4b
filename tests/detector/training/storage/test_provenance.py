"""The record of a training: what it holds, and what counts as a difference."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from label_files import edit
from safetensors.torch import save_file

import detector
from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.data.labels.annotations import read_split
from detector.model.backbone import Backbone
from detector.training.epoch_end import EpochReport
from detector.training.storage.environment import read_code, read_environment
from detector.training.storage.fingerprint import Contents
from detector.training.storage.provenance import (
    RECORD,
    Provenance,
    digest_of,
    other_rounding,
    read_record,
    require_same,
    write_record,
)
from detector.training.trainer import train


def stop(_: EpochReport) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def begun(tiny: Callable[..., TrainConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was interrupted after its first epoch."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), folder, report=stop, log=lambda _: None)
    return folder


def test_a_training_is_recorded_when_it_starts(begun: Path, tiny: Callable[..., TrainConfig]):
    record = read_record(begun)
    assert record.config == tiny()
    assert (record.train.split, record.train.pages, record.train.words) == ("train", 4, 16)
    assert (record.val.split, record.val.pages, record.val.words) == ("val", 2, 8)
    assert "starting from scratch" in record.weights.source
    assert record.weights.scratch
    assert record.code == read_code()
    assert record.environment == read_environment(torch.device("cpu"))
    assert record.environment.versions["torch"] in torch.__version__
    assert "unknown" not in record.environment.versions.values()


def test_a_resume_keeps_the_record_and_says_what_is_other_now(
    begun: Path, tiny: Callable[..., TrainConfig], data: Path, tmp_path: Path
):
    folder = Path(shutil.copytree(begun, tmp_path / "run"))
    before = but_for_images(read_record(folder))
    lines: list[str] = []
    train(tiny({"train.epochs": 3}), folder, resume=True, log=lines.append)
    assert not any("in the record" in line for line in lines)

    folder = Path(shutil.copytree(begun, tmp_path / "again"))
    edit(data, "train", lambda words: words.pop("0001"))
    train(tiny({"data.root": data, "train.threads": 2}), folder, resume=True, log=lines.append)
    assert but_for_images(read_record(folder)) == before
    assert "split 'train': 16 words in the record, 15 now" in lines
    assert any(line.startswith("number of threads: 1 in the record, 2 now") for line in lines)


def but_for_images(record: Provenance) -> Provenance:
    """Without the digests that are read while a training runs."""
    return changed(record, {"train.images": None, "val.images": None})


SLOW = """
import json, os, sys, threading
from pathlib import Path
from detector.config.settings import TrainConfig
from detector.training.storage.fingerprint import THREAD
from detector.training.storage.provenance import read_record
from detector.training.trainer import train

config = TrainConfig.model_validate_json(Path(sys.argv[1]).read_text())
folder, read = Path(sys.argv[2]), threading.Event()

def watch(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".jpg"):
        if threading.current_thread().name == THREAD:
            read.wait()

def report(done):
    record = read_record(folder)
    print(json.dumps([record.train.images, record.val.images]), flush=True)
    if done.epoch == 2:
        if sys.argv[3] == "killed":
            os._exit(0)
        read.set()

sys.addaudithook(watch)
train(config, folder, report=report)
"""


def test_no_step_waits_for_images_to_be_read_whole(
    tiny: Callable[..., TrainConfig], tmp_path: Path
):
    """A disk so slow that the first digest would take two epochs; killed then, and resumed."""
    (tmp_path / "config.json").write_text(tiny().model_dump_json())
    records = []
    for ending, epochs in (("finished", 3), ("killed", 2)):
        folder = tmp_path / ending
        command = [sys.executable, "-c", SLOW, str(tmp_path / "config.json"), str(folder), ending]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        images = [json.loads(line) for line in said.splitlines()]
        assert images[:2] == [[None, None]] * 2
        assert len(images) == epochs
        if ending == "killed":
            assert read_record(folder).train.images is None
            train(tiny(), folder, resume=True, log=lambda _: None)
        records.append(read_record(folder))
    one, resumed = records
    assert one == resumed
    root = tiny().data.root
    assert root is not None
    contents = Contents([read_split(root, name).pages for name in ("train", "val")])
    assert contents.wait() == (one.train.images, one.val.images)


def test_images_that_are_others_are_not_put_into_an_incomplete_record(
    begun: Path, tiny: Callable[..., TrainConfig], data: Path, tmp_path: Path
):
    folder = Path(shutil.copytree(begun, tmp_path / "run"))
    write_record(folder, but_for_images(read_record(folder)))
    page = min((data / "images" / "val").iterdir())
    page.write_bytes(page.read_bytes() + b"0")
    lines: list[str] = []
    train(tiny({"data.root": data}), folder, resume=True, log=lines.append)
    assert "split 'val': image files were renamed or have other content" in lines
    assert read_record(folder).val.images is None


def test_a_training_that_is_repeated_ends_when_images_are_found_to_be_others(
    begun: Path, tiny: Callable[..., TrainConfig], data: Path, tmp_path: Path
):
    """Of the same size, so that only reading them tells."""
    folder = Path(shutil.copytree(begun, tmp_path / "whole"))
    train(tiny(), folder, resume=True, log=lambda _: None)
    page = min((data / "images" / "train").iterdir())
    content = bytearray(page.read_bytes())
    content[-1] ^= 1
    page.write_bytes(content)
    config = tiny({"data.root": data})
    with pytest.raises(InputError, match="split 'train': image files were renamed or have other"):
        train(config, tmp_path / "again", expected=read_record(folder), log=lambda _: None)


def test_the_code_is_that_of_the_whole_package():
    package, expected = Path(detector.__file__).parent, hashlib.blake2b(digest_size=16)
    for path in sorted(package.rglob("*.py")):
        expected.update(path.relative_to(package).as_posix().encode() + b"\0")
        expected.update(path.read_bytes() + b"\0")
    assert read_code().digest == expected.hexdigest()


def test_a_training_from_before_records_is_resumed(
    begun: Path, tiny: Callable[..., TrainConfig], tmp_path: Path
):
    folder = Path(shutil.copytree(begun, tmp_path / "run"))
    (folder / RECORD).unlink()
    lines: list[str] = []
    assert train(tiny(), folder, resume=True, log=lines.append).epoch == 3
    assert any(f"{RECORD}: no such file" in line for line in lines)
    assert not (folder / RECORD).exists()


def test_a_record_from_before_a_section_of_settings_has_its_defaults(begun: Path, tmp_path: Path):
    content = json.loads((begun / RECORD).read_text())
    del content["config"]["sweep"]
    (tmp_path / RECORD).write_text(json.dumps(content))
    assert read_record(tmp_path) == read_record(begun)


def test_a_digest_depends_on_values_names_types_and_shapes_not_on_memory():
    values = torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4)
    given = {"a": values, "b": torch.tensor(3)}
    same = {"b": torch.tensor(3), "a": values.to(memory_format=torch.channels_last)}
    assert digest_of(given) == digest_of(same)
    others = [
        {"a": values.nextafter(values + 1), "b": torch.tensor(3)},
        {"a": values, "c": torch.tensor(3)},
        {"a": values, "b": torch.tensor(3, dtype=torch.int32)},
        {"a": values.reshape(2, 12), "b": torch.tensor(3)},
    ]
    assert len({digest_of(given), *map(digest_of, others)}) == 5
    half = values.to(torch.bfloat16)
    assert digest_of({"a": half}) != digest_of({"a": values})


def changed(record: Provenance, values: dict) -> Provenance:
    """A copy of a record with dotted keys replaced."""
    content = record.model_dump()
    for key, value in values.items():
        *parents, leaf = key.split(".")
        node = content
        for part in parents:
            node = node[part]
        node[leaf] = value
    return Provenance.model_validate(content)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"environment.versions": {"torch": "0.1"}}, "version of torch: "),
        ({"environment.cpu_capability": "NONE"}, "CPU capability: "),
        ({"environment.threads": 77}, "number of threads: 1 in the record, 77 now"),
        ({"environment.device": "a GPU"}, "device: cpu in the record, a GPU now"),
        ({"environment.platform": "another"}, "platform: "),
        ({"code.digest": "0" * 32}, "code: files of digest "),
        ({"config.train.processes": 2}, "train.processes: 1 in the record, 2 now"),
        ({"config.train.channels_last": False}, "train.channels_last: null in the record, false"),
        ({"weights.digest": "0" * 32}, "random first weights: "),
    ],
)
def test_what_may_change_bits_is_told_but_not_refused(begun: Path, values: dict, line: str):
    record = read_record(begun)
    other = changed(record, values)
    require_same(record, other)
    lines = other_rounding(record, other)
    assert any(found.startswith(line) for found in lines)
    assert all("the same bits are promised only for the same" in found for found in lines)
    assert other_rounding(record, record) == []


def test_the_commit_alone_changes_no_bits(begun: Path):
    record = read_record(begun)
    assert other_rounding(record, changed(record, {"code.commit": "0" * 40})) == []


def test_other_pretrained_weights_are_refused(tiny: Callable[..., TrainConfig], tmp_path: Path):
    """The digest decides, not where the weights are from."""
    state = Backbone("mobilenetv3_small_050").body.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    save_file(state, tmp_path / "b.safetensors")
    save_file({k: v * 2 for k, v in state.items()}, tmp_path / "c.safetensors")

    def begin(name: str, expected: Provenance | None = None) -> Path:
        config = tiny({"model.weights": str(tmp_path / f"{name}.safetensors"), "train.epochs": 1})
        train(config, tmp_path / name, expected=expected, log=lambda _: None)
        return tmp_path / name

    record = read_record(begin("a"))
    assert "a.safetensors: " in record.weights.source
    assert not record.weights.scratch
    begin("b", record)
    with pytest.raises(InputError, match=r"model\.weights: .*a\.safetensors.* in the record"):
        begin("c", record)
    assert not (tmp_path / "c").exists()
    with pytest.raises(InputError, match=r"starting from scratch.* now"):
        train(tiny({"train.epochs": 1}), tmp_path / "d", expected=record, log=lambda _: None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"record\.json: not valid JSON"),
        ("\udcff", r"record\.json: not valid JSON"),
        ("[]", r"must be a record of version 1, got None"),
        ('{"version": 7}', r"must be a record of version 1, got 7; use the version"),
        ('{"version": 1}', r"record\.json: config: field required"),
        ('{"version": 1, "more": 2}', r"record\.json: more: unknown key"),
    ],
)
def test_a_record_that_is_none_is_named(tmp_path: Path, content: str, message: str):
    (tmp_path / RECORD).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=message):
        read_record(tmp_path)


def test_a_record_from_before_maps_were_normalised_is_repeated_without(begun: Path, tmp_path: Path):
    content = json.loads((begun / RECORD).read_text())
    assert content["config"]["model"].pop("norm_maps") is True
    (tmp_path / RECORD).write_text(json.dumps(content))
    assert read_record(tmp_path).config.model.norm_maps is False
