from __future__ import annotations

from pathlib import Path

import pytest

from detector.files import content_digest, file_digest, replacing, write_text


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
