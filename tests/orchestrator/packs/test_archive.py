from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from detector.core.errors import InputError
from orchestrator.packs.archive import digests, read_pack, write_pack

FILES: dict[str, bytes] = {
    "config.yaml": b"space: mine\n",
    "best/model.safetensors": bytes(range(256)) * 40,
    "trials/00000_x/error.txt": b"",
}


def about(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "run": "first", "files": digests(FILES)} | changes


def test_files_come_back_as_they_were(tmp_path: Path):
    pack, folder = tmp_path / "a.zip", tmp_path / "b" / "back"
    model = tmp_path / "model"
    model.write_bytes(FILES["best/model.safetensors"])
    files: dict[str, bytes | Path] = {**FILES, "best/model.safetensors": model}
    assert digests(files) == {k: hashlib.sha256(v).hexdigest() for k, v in FILES.items()}
    write_pack(pack, about(), files)
    assert read_pack(pack, folder) == about()
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == FILES


def test_a_pack_replaces_the_one_before_and_leaves_nothing_beside_it(tmp_path: Path):
    pack = tmp_path / "a.zip"
    pack.write_text("old")
    write_pack(pack, about(), FILES)
    assert zipfile.is_zipfile(pack)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "/etc/cron.d/evil",
        "best/../../evil.yaml",
        "best//config.yaml",
        "best\\config.yaml",
        "best/code.py",
        "trials/.ssh/log.txt",
        "trials/x/y/log.txt",
        "run.sh",
    ],
)
@pytest.mark.parametrize("told", [True, False])
def test_files_that_no_pack_holds_are_refused(name: str, told: bool, tmp_path: Path):
    files = FILES | {name: b"evil"}
    write_pack(tmp_path / "a.zip", about(**({"files": digests(files)} if told else {})), files)
    with pytest.raises(InputError, match=r"a\.zip holds .* which no pack does; do not trust it"):
        read_pack(tmp_path / "a.zip", tmp_path / "back")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"has no pack\.json as orchestrator\.pack writes it"),
        ([], r"has no pack\.json"),
        (about(version=2), r"must be a pack of version 1, got 2; use the version"),
        (about(files=["config.yaml"]), r"has no pack\.json"),
        (about(files={"config.yaml": 3}), r"must be a pack of version 1"),
        (about(files=digests(FILES) | {"space.yaml": ""}), r"lacks space\.yaml; get it again"),
        (about(files=digests(FILES) | {"config.yaml": "0"}), r"config\.yaml is not what was pack"),
    ],
)
def test_a_pack_that_is_not_whole_makes_no_folder(content: Any, message: str, tmp_path: Path):
    write_pack(tmp_path / "a.zip", content, FILES)
    with pytest.raises(InputError, match=message):
        read_pack(tmp_path / "a.zip", tmp_path / "back")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_torn_file_is_told(tmp_path: Path):
    pack, model = tmp_path / "a.zip", tmp_path / "model"
    model.write_bytes(FILES["best/model.safetensors"])
    files: dict[str, bytes | Path] = {**FILES, "best/model.safetensors": model}  # not compressed
    write_pack(pack, about(), files)
    whole = pack.read_bytes()
    for kept in (0, 30, len(whole) // 2, len(whole) - 10):
        pack.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r"pack: .* is no whole zip file"):
            read_pack(pack, tmp_path / "back")
    flipped = bytearray(whole)
    flipped[whole.index(FILES["best/model.safetensors"]) + 5] ^= 1
    pack.write_bytes(flipped)
    with pytest.raises(InputError, match="get it again"):
        read_pack(pack, tmp_path / "back")


def test_a_folder_that_is_there_is_kept(tmp_path: Path):
    write_pack(tmp_path / "a.zip", about(), FILES)
    (tmp_path / "back").mkdir()
    with pytest.raises(InputError, match=r"output: .*back exists already; give a new folder"):
        read_pack(tmp_path / "a.zip", tmp_path / "back")


def test_what_is_larger_than_the_disk_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_pack(tmp_path / "a.zip", about(), FILES)
    needed = sum(map(len, FILES.values())) + len(json.dumps(about(), indent=1))
    usage = type("Usage", (), {"free": needed - 1})
    monkeypatch.setattr("orchestrator.packs.archive.shutil.disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"output: .* MiB free; give another folder or make room"):
        read_pack(tmp_path / "a.zip", tmp_path / "back")
    usage.free = needed
    read_pack(tmp_path / "a.zip", tmp_path / "back")
