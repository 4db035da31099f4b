from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from detector.core.weight_files import fault_of, save_tensors
from detector.training.storage.generations import (
    BROKEN,
    LAST,
    PREVIOUS,
    has_state,
    keep_previous,
    newest_state,
    states,
)


def write(folder: Path, value: float) -> None:
    """As a training does at the end of an epoch."""
    keep_previous(folder)
    tensors = {
        "a": torch.full((3, 5), value),
        "half": torch.full((2,), value, dtype=torch.bfloat16),
        "step": torch.tensor(value),
        "flags": torch.tensor([True, False]),
        "none": torch.zeros(0),
    }
    save_tensors(folder / LAST, tensors, {"state": "{}"})


def test_the_last_two_states_are_kept(tmp_path: Path):
    assert not has_state(tmp_path)
    assert newest_state(tmp_path, pytest.fail) is None
    contents = []
    for value in (1.0, 2.0, 3.0):
        write(tmp_path, value)
        contents.append((tmp_path / LAST).read_bytes())
    assert (tmp_path / PREVIOUS).read_bytes() == contents[1]
    assert newest_state(tmp_path, pytest.fail) == tmp_path / LAST
    assert sorted(p.name for p in tmp_path.iterdir()) == [LAST, PREVIOUS]
    (tmp_path / BROKEN).touch()
    assert {*states(tmp_path)} == {*tmp_path.iterdir()}
    for path in states(tmp_path, but_last=True):
        path.unlink()
    assert [p.name for p in tmp_path.iterdir()] == [LAST]
    (tmp_path / LAST).unlink()
    assert not has_state(tmp_path)


def test_a_file_system_without_links_gets_a_copy(tmp_path: Path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    write(tmp_path, 1.0)
    first = (tmp_path / LAST).read_bytes()
    write(tmp_path, 2.0)
    assert (tmp_path / PREVIOUS).read_bytes() == first


def test_what_a_killed_training_had_begun_to_write_is_deleted(tmp_path: Path):
    write(tmp_path, 1.0)
    (tmp_path / f".{LAST}.0123abcd.tmp").write_bytes(b"half a state")
    (tmp_path / ".best.0123abcd.new").mkdir()
    assert newest_state(tmp_path, pytest.fail) == tmp_path / LAST
    assert [p.name for p in tmp_path.iterdir()] == [LAST]


def broken(path: Path, how: str) -> None:
    content = path.read_bytes()
    new = {
        "empty": b"",
        "short": content[:5],
        "cut": content[:-7],
        "longer": content + b"\0",
        "text": b"not a checkpoint at all",
        "zeros": content[:-12] + bytes(12),
        "no mapping": (2).to_bytes(8, "little") + b"[]",
    }[how]
    path.write_bytes(new)


@pytest.mark.parametrize(
    "how", ["empty", "short", "cut", "longer", "text", "zeros", "no mapping", "gone"]
)
def test_a_broken_last_state_is_set_aside_and_the_one_before_is_used(tmp_path: Path, how: str):
    for value in (1.0, 2.0):
        write(tmp_path, value)
    before = (tmp_path / PREVIOUS).read_bytes()
    lines: list[str] = []
    if how == "gone":
        (tmp_path / LAST).unlink()
    else:
        broken(tmp_path / LAST, how)
    assert newest_state(tmp_path, lines.append) == tmp_path / PREVIOUS
    if how != "gone":
        assert lines[0].startswith(f"{tmp_path / LAST} is broken (")
        assert lines[0].endswith(f"going on from {tmp_path / PREVIOUS}, the state before")
        assert (tmp_path / BROKEN).exists()
    write(tmp_path, 2.0)  # the epoch that was lost, done again
    assert (tmp_path / PREVIOUS).read_bytes() == before
    assert newest_state(tmp_path, pytest.fail) == tmp_path / LAST


def test_with_nothing_whole_left_it_is_said_that_a_training_begins_again(tmp_path: Path):
    for value in (1.0, 2.0):
        write(tmp_path, value)
    broken(tmp_path / LAST, "cut")
    broken(tmp_path / PREVIOUS, "text")
    lines: list[str] = []
    assert newest_state(tmp_path, lines.append) is None
    (line,) = lines
    assert line.count("is broken") == 2
    assert line.endswith("no whole state is left, so training begins again at epoch 1")


def test_a_file_from_before_there_were_checksums_is_whole(tmp_path: Path):
    save_file({"a": torch.ones(3)}, tmp_path / LAST, {"state": "{}"})
    assert fault_of(tmp_path / LAST) is None


@examples(200)
@given(st.data())
def test_no_changed_byte_of_the_content_goes_unseen(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("states")
    write(folder, 1.0)
    content = bytearray((folder / LAST).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    (folder / LAST).write_bytes(content)
    start = 8 + int.from_bytes(content[:8], "little")
    fault = fault_of(folder / LAST)  # whatever the byte, an answer and no exception
    assert fault is not None or place < start
