"""The files of a zip: which are taken, and that none is lost."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

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


def _zip_named(path: Path, name: bytes, flags: int = 0) -> None:
    """A zip of one file, whose name is these bytes, with flags of their encoding."""
    stand_in = b"N" * len(name)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(stand_in.decode(), "a word")
    content = bytearray(path.read_bytes().replace(stand_in, name))
    # the flags are 6 bytes into the file's own header and 8 into that of the directory
    for header, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(header) + place
        content[at : at + 2] = flags.to_bytes(2, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("결과/영수증_1.txt", "cp949"),  # Windows' own archives
        ("결과/영수증_1.txt", "utf-8"),  # a Mac's, without the flag
        ("plain.txt", "ascii"),
        ("résumés/Größe.txt", "cp437"),
    ],
)
def test_names_without_the_flag_of_utf_8_are_in_the_encoding_that_they_fit(
    tmp_path: Path, name: str, encoding: str
) -> None:
    path = tmp_path / "a.zip"
    _zip_named(path, name.encode(encoding))
    (file,) = zip_files(path, bool)
    assert (str(file.name), file.path, file.text) == (name, path / name, "a word")


def test_an_absolute_name_leads_to_no_file_outside_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    _zip_named(path, b"/etc/a.txt")
    (file,) = zip_files(path, bool)
    assert (str(file.name), file.path) == ("etc/a.txt", path / "etc/a.txt")


def test_names_that_are_said_to_be_utf_8_stay(tmp_path: Path) -> None:
    name = "╟ß░·.txt"  # what zipfile makes of 결과 in CP949
    path = tmp_path / "a.zip"
    _zip_named(path, name.encode(), flags=0x800)
    assert [str(file.name) for file in zip_files(path, bool)] == [name]


@examples(100)
@given(st.text(st.sampled_from("가나다라마바사합계영수증검수완료 _1ab"), min_size=1, max_size=12))
def test_any_korean_name_survives(tmp_path_factory: pytest.TempPathFactory, stem: str) -> None:
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    _zip_named(path, f"{stem}.txt".encode("cp949"))
    assert [str(file.name) for file in zip_files(path, bool)] == [f"{stem}.txt"]
