from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from orchestrator.machines.exchange import InFolder
from orchestrator.machines.look import code_digest, files_in, look, own_versions


def test_a_machine_looks_at_itself(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jpg").write_bytes(b"123")
    exchange = InFolder(tmp_path / "runs")
    exchange.ask()
    before = time.time()
    machine = look("me", exchange, tmp_path / "data")
    assert before <= machine.began <= machine.ended <= time.time()
    assert machine.versions == own_versions()
    assert machine.versions["python"] == platform.python_version()
    assert machine.exchange is None
    assert exchange.heard("me")
    assert machine.data is None
    assert machine.files is not None
    assert machine.files.count == 1
    stat = os.statvfs(machine.disks[0].path)
    assert machine.disks[0].total == stat.f_blocks * stat.f_frsize


def test_what_is_not_there_is_said(tmp_path: Path):
    machine = look("me", InFolder(tmp_path / "elsewhere"), tmp_path / "none")
    assert machine.exchange == "what the search wrote there is not to be seen"
    assert machine.data == "there is no such folder"
    assert machine.files is None


def test_files_differ_by_name_size_and_place_and_not_by_time(tmp_path: Path):
    def folder(name: str, files: dict[str, bytes]) -> Path:
        for path, content in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(content)
        return tmp_path / name

    plain = {"images/a.jpg": b"12", "images/b.jpg": b"3"}
    first = files_in(folder("first", plain))
    again = folder("again", dict(reversed(plain.items())))
    os.utime(again / "images/a.jpg", (1, 1))
    assert files_in(again) == first
    others = (
        {"images/a.jpg": b"1", "images/b.jpg": b"3"},
        {"images/a.jpg": b"12", "images/c.jpg": b"3"},
        {"images/a.jpg": b"12", "b.jpg": b"3"},
    )
    for number, files in enumerate(others):
        assert files_in(folder(str(number), files)) != first


def test_a_slow_folder_is_read_for_so_long_only(tmp_path: Path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    assert not files_in(tmp_path, seconds=-1).whole
    assert files_in(tmp_path).whole


def test_the_code_is_that_of_both_packages():
    assert code_digest() == code_digest()
    assert len(code_digest()) == 12
