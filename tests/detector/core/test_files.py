from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from detector.core.errors import InputError
from detector.core.files import (
    content_digest,
    file_digest,
    is_locked,
    locked,
    replacing,
    require_writable,
    write_text,
)
from tests.detector.core.test_folders import names


def test_text_is_replaced_and_nothing_is_left_behind(tmp_path: Path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "eins")
    write_text(path, "둘")
    assert path.read_text(encoding="utf-8") == "둘"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_an_error_keeps_the_former_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail_mid_way() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("mid-way")

    with pytest.raises(RuntimeError, match="mid-way"):
        fail_mid_way()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_held_by_one_process_at_a_time_whatever_it_forks(tmp_path: Path):
    """The children of a killed holder, such as loader processes, do not keep its lock."""
    folder, said = tmp_path / "new" / "run", []
    code = (
        "import os, sys, time; from pathlib import Path; from detector.core.files import locked\n"
        "with locked(Path(sys.argv[1]), 'output: in use', print):\n"
        "    if not os.fork(): print(os.getpid(), flush=True)\n"
        "    time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())  # so it runs, without its parent's lock
        try:
            assert is_locked(folder)
            message = rf"^output: in use \(process {holder.pid} on .+\); wait for it, stop"
            with (
                pytest.raises(InputError, match=message),
                locked(folder, "output: in use", said.append),
            ):
                pass
            holder.kill()
            holder.wait()
            with locked(folder, "output: in use", said.append):
                assert is_locked(folder)
        finally:
            holder.kill()
            os.kill(child, signal.SIGKILL)
    assert not is_locked(folder)
    assert said == []
    assert names(folder) == [".lock"]  # it was there before this process came


def test_a_folder_that_was_made_to_be_held_goes_when_nothing_was_written(tmp_path: Path):
    with locked(tmp_path / "runs" / "one", "", pytest.fail):
        pass
    assert names(tmp_path) == []
    with locked(tmp_path / "runs" / "one", "", pytest.fail):
        write_text(tmp_path / "runs" / "one" / "a", "text")
    assert names(tmp_path / "runs" / "one") == [".lock", "a"]


def test_where_nothing_can_be_locked_it_is_said(tmp_path: Path, monkeypatch):
    def refuse(*_) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    said: list[str] = []
    with locked(tmp_path, "", said.append):
        assert not is_locked(tmp_path)
    message = "cannot be locked (No locks available); let nothing else write there"
    assert said == [f"{tmp_path}: {message}"]


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    first = file_digest(path)
    assert first == content_digest(b"one")
    assert len(first) == 32
    path.write_bytes(b"other")
    assert file_digest(path) == content_digest(b"other")
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "none.jpg")


def test_an_output_that_can_be_written_leaves_no_trace(tmp_path: Path):
    old = tmp_path / "old.json"
    old.write_text("kept")
    require_writable("output", old)
    require_writable("output", tmp_path / "a" / "b" / "new.json")
    require_writable("draw", tmp_path / "a" / "b", folder=True)
    require_writable("draw", tmp_path, folder=True)
    require_writable("csv", None)
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_text() == "kept"


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("file", True, "is a file; give a folder"),
        ("folder", False, "is a folder; give a file"),
        ("pipe", False, "is a pipe or device; give a file"),
        ("file/below/new.json", False, "lies below .*file, which is a file; give another path"),
        ("file/below", True, "lies below .*file, which is a file; give another path"),
        ("x" * 250, False, "cannot be written: File name too long; give another path"),
    ],
)
def test_an_output_that_cannot_be_written_is_named(
    tmp_path: Path, name: str, folder: bool, message: str
):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=f"^output: {tmp_path}/{name} {message}"):
        require_writable("output", tmp_path / name, folder=folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_without_the_right_to_write_is_named():
    code = """
import os
from pathlib import Path
from detector.core.files import require_writable
if os.geteuid() == 0:
    os.seteuid(65534)  # nobody
require_writable("output", Path("/new/pred.json"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        "output: /new/pred.json cannot be written: Permission denied; give another path"
        in done.stderr
    )
