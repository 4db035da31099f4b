from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from detector.core import files
from detector.core.errors import InputError
from detector.core.files import (
    clear_up,
    content_digest,
    copy_folder,
    file_digest,
    is_locked,
    locked,
    of_one_generation,
    replacing,
    replacing_folder,
    require_writable,
    write_text,
)


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


def write_folder(path: Path, text: str) -> None:
    with replacing_folder(path) as fresh:
        for name in ("a", "b"):
            (fresh / name).write_text(text)


def read_folder(path: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in path.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture(params=["swaps", "renames"])
def way(request, monkeypatch) -> str:
    """How folders are replaced: as on Linux's own file systems, or as on NFS."""
    if request.param == "renames":
        monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    return request.param


@pytest.mark.usefixtures("way")
def test_a_folder_is_replaced_whole_and_nothing_is_left_behind(tmp_path: Path):
    path = tmp_path / "new" / "best"
    for text in ("one", "two"):
        write_folder(path, text)
        assert read_folder(path) == {"a": text, "b": text}

    def fail_mid_way() -> None:
        with replacing_folder(path) as fresh:
            (fresh / "a").write_text("three")
            raise RuntimeError("mid-way")

    with pytest.raises(RuntimeError, match="mid-way"):
        fail_mid_way()
    assert read_folder(path) == {"a": "two", "b": "two"}
    assert names(path.parent) == ["best"]


def test_a_copy_has_the_times_and_no_hidden_file(tmp_path: Path):
    write_folder(tmp_path / "one", "text")
    (tmp_path / "one" / ".c.tmp").write_text("half")
    os.utime(tmp_path / "one" / "a", ns=(10**18, 10**18))
    copy_folder(tmp_path / "one", tmp_path / "copy")
    assert read_folder(tmp_path / "copy") == {"a": "text", "b": "text"}
    assert (tmp_path / "copy" / "a").stat().st_mtime_ns == 10**18


def test_a_copy_of_what_is_not_there_leaves_the_former_one(tmp_path: Path):
    write_folder(tmp_path / "copy", "former")
    with pytest.raises(FileNotFoundError, match="none"):
        copy_folder(tmp_path / "none", tmp_path / "copy")
    (tmp_path / "odd" / "folder").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        copy_folder(tmp_path / "odd", tmp_path / "copy")
    assert read_folder(tmp_path / "copy") == {"a": "former", "b": "former"}
    assert names(tmp_path) == ["copy", "odd"]


@pytest.mark.usefixtures("way")
def test_a_reader_that_is_overtaken_reads_again(tmp_path: Path):
    path, seen = tmp_path / "best", []
    write_folder(path, "old")

    def read() -> dict[str, str]:
        seen.append((path / "a").read_text())
        if len(seen) == 1:
            write_folder(path, "new")
        if len(seen) == 2:
            write_folder(path, "newest")
            raise ValueError("of a file that was gone")
        return {"a": seen[-1], "b": (path / "b").read_text()}

    assert of_one_generation(path, read) == {"a": "newest", "b": "newest"}
    assert seen == ["old", "new", "newest"]
    with pytest.raises(ValueError, match="of a file that is there"):
        of_one_generation(path, lambda: raising(ValueError("of a file that is there")))


def raising(error: Exception) -> None:
    raise error


KILLED = """
import json, os, signal, sys
from itertools import count
from pathlib import Path
from detector.core import files
from detector.core.errors import InputError

folder = Path(sys.argv[1])
if sys.argv[2] == "renames":
    files._exchanged = lambda *_: False

def write(generation):
    with files.replacing_folder(folder / "best") as fresh:
        for name in ("a", "b"):
            files.write_text(fresh / name, generation)

def die_at(event):
    left = iter(range(event))
    def watch(*_):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

write("old")
for event in count():
    child = os.fork()
    if child == 0:
        die_at(event)
        write("new")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    left = len(os.listdir(folder)) - 1
    files.clear_up(folder)
    kept = [(folder / "best" / name).read_text() for name in ("a", "b")]
    print(json.dumps([left, os.listdir(folder), kept]))
    write("old")
"""


def test_after_a_kill_there_is_one_generation_and_then_nothing_else(tmp_path: Path, way: str):
    """Killed before each thing that Python asks of the system, as its audit events tell."""
    command = [sys.executable, "-c", KILLED, str(tmp_path), way]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    kills = [json.loads(line) for line in lines]
    assert len(kills) > 20
    assert sum(left > 0 for left, _, _ in kills) > 10  # hit a writer at work
    assert all(names == ["best"] for _, names, _ in kills)
    generations = [a for _, _, (a, b) in kills if a == b]
    assert len(generations) == len(kills)
    assert generations == sorted(generations, reverse=True)  # the old one, then the new one
    assert set(generations) == {"old", "new"}


def test_a_folder_that_a_kill_left_without_its_name_is_put_back(tmp_path: Path):
    for name in (".best.0123abcd.old", ".best.4567abcd.new", ".lock.d"):
        write_folder(tmp_path / name, name)
    (tmp_path / ".lock").write_text("of others")
    clear_up(tmp_path)
    assert names(tmp_path) == [".lock", ".lock.d", "best"]
    assert read_folder(tmp_path / "best")["a"] == ".best.0123abcd.old"
    clear_up(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_is_held_by_one_process_at_a_time_whatever_it_forks(tmp_path: Path):
    """The children of a killed holder, such as loader processes, do not keep its lock."""
    folder, said = tmp_path / "new" / "run", []
    code = (
        "import os, sys, time; from pathlib import Path; from detector.core.files import locked\n"
        "with locked(Path(sys.argv[1]), 'output: in use', print):\n"
        "    child = os.fork()\n"
        "    if child: print(os.getpid(), child, flush=True)\n"
        "    time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        pid, child = map(int, holder.stdout.readline().split())
        try:
            assert is_locked(folder)
            message = rf"^output: in use \(process {pid} on .+\); wait for it, stop it, or use"
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
