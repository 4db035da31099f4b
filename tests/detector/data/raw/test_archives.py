"""The files of a zip: which are taken, and that none is lost."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import pytest

from detector.core.errors import InputError
from detector.data.raw.archives import zip_files


def test_wanted_files_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("sub/b.txt", "second")
        archive.writestr("sub/", "")
        archive.writestr("a.txt", "first")
        archive.writestr("a.jpg", "no label")
        archive.writestr("sub/b.txt", "third")  # a name that is given twice
    files = zip_files(path, lambda name: name.suffix != ".jpg")
    assert [(str(f.name), f.text) for f in files] == [
        ("a.txt", "first"),
        ("sub/b.txt", "second"),
        ("sub/b.txt", "third"),
    ]
    assert files[0].path == path / "a.txt"


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=r"a\.zip: not a readable zip file"):
        zip_files(path, bool)
