from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from detector.core import folders
from detector.core.files import clear_up
from detector.core.folders import cache_folder, copy_folder, of_one_generation, replacing_folder


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
        monkeypatch.setattr(folders, "_exchanged", lambda *_: False)
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
from detector.core import files, folders

folder = Path(sys.argv[1])
if sys.argv[2] == "renames":
    folders._exchanged = lambda *_: False

def write(generation):
    with folders.replacing_folder(folder / "best") as fresh:
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


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "receipt-orchestrator"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "receipt-orchestrator"


def test_a_user_without_a_home_has_caches_among_temporary_files():
    """As in a container that runs under a number which no user has."""
    code = (
        "import os; from detector.core.folders import cache_folder; os.setuid(54321); "
        "os.environ.pop('HOME', None); os.environ.pop('XDG_CACHE_HOME', None); "
        "print(cache_folder())"
    )
    if os.getuid() != 0:
        pytest.skip("only root may become another user")
    env = os.environ | {"TMPDIR": "/tmp"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout == "/tmp/receipt-orchestrator\n", done.stderr
