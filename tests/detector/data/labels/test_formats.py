from __future__ import annotations

from pathlib import Path

import pytest
from label_files import label_file

from detector.core.errors import InputError
from detector.data.labels.formats import formats, label_files, of_format, recognised

QUAD = "1,1,9,1,9,9,1,9"
FRACTIONS = "0 0.5 0.5 0.2 0.1\n"


def found(root: Path, files: dict[str, str]) -> tuple[str, list[str]]:
    for name, content in files.items():
        label_file(root, name, content)
    name, known = recognised(root, label_files(root))
    return name, [str(file.name) for file in known]


@pytest.mark.parametrize(
    ("line", "name"),
    [(f"{QUAD},a\n", "icdar2015"), (f"{QUAD},Latin,a\n", "icdar_mlt"), (FRACTIONS, "yolo_box")],
)
def test_files_without_lines_are_of_the_format_of_the_others(
    tmp_path: Path, line: str, name: str
) -> None:
    files = {"a.txt": "", "b.txt": line, "c.txt": "\ufeff\r\n"}
    assert found(tmp_path, files) == (name, ["a.txt", "b.txt", "c.txt"])


def test_files_without_lines_alone_are_pages_without_words(tmp_path: Path) -> None:
    name, files = found(tmp_path, {"a.txt": "", "b.txt": "\n"})
    assert files == ["a.txt", "b.txt"]
    pages = [page for file in label_files(tmp_path) for page in formats()[name].read(file)]
    assert [(page.image, page.words) for page in pages] == [("a", {}), ("b", {})]


def test_a_file_without_lines_is_of_no_format_that_has_other_files(tmp_path: Path) -> None:
    content = '{"Images": {}, "Dataset": {}, "bbox": []}'
    assert found(tmp_path, {"a.json": content, "b.txt": ""}) == ("aihub_ocr_xy", ["a.json"])


def test_blank_json_is_no_format_of_its_own(tmp_path: Path) -> None:
    content = '{"images": {"a.jpg": {"words": {}}}}'
    assert found(tmp_path, {"a.json": content, "b.json": "{}"}) == ("native", ["a.json"])


def test_what_comes_with_labels_is_none_of_them(tmp_path: Path) -> None:
    names = ("README.txt", "a.md", "classes.txt", "VOC/ImageSets/Main/train.txt", ".a.txt")
    files = {**dict.fromkeys(names, "1,2\n"), "readme/a.txt": f"{QUAD},a\n"}
    assert found(tmp_path, files) == ("icdar2015", ["readme/a.txt"])


def test_what_was_read_to_tell_the_format_is_kept_while_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"{QUAD},a\n"
    monkeypatch.setattr("detector.data.labels.formats._KEPT_BYTES", 2 * len(line))
    for name in ("a.txt", "b.txt", "c.txt"):
        label_file(tmp_path, name, line)
    label_file(tmp_path, "d.txt", "1,2\n")
    files = label_files(tmp_path)
    recognised(tmp_path, files)
    assert ["content" in vars(file) for file in files] == [True, True, False, False]


def test_one_file_is_read_once_whatever_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detector.data.labels.formats._KEPT_BYTES", 0)
    label_file(tmp_path, "a.json", {"images": {"a.jpg": {"words": {}}}})
    _, (file,) = recognised(tmp_path, label_files(tmp_path))
    (tmp_path / "a.json").unlink()
    assert [page.image for page in formats()["native"].read(file)] == ["a.jpg"]


def test_a_format_that_is_said_takes_its_files_and_those_of_none(tmp_path: Path) -> None:
    for name, content in {"a.txt": f"{QUAD},a\n", "b.txt": FRACTIONS, "c.txt": "1,2\n"}.items():
        label_file(tmp_path, name, content)
    files = label_files(tmp_path)
    assert [str(f.name) for f in of_format(tmp_path, files, "icdar2015")] == ["a.txt", "c.txt"]
    with pytest.raises(InputError, match=r"data\.format: must be auto, .*, yolo_obb, got 'icdar'"):
        of_format(tmp_path, files, "icdar")
    with pytest.raises(InputError, match=r"no file of the format coco \(\.json\); give another"):
        of_format(tmp_path, files, "coco")


def test_two_formats_are_told_without_the_files_that_may_be_of_any(tmp_path: Path) -> None:
    files = {"a.txt": f"{QUAD},a\n", "b.txt": FRACTIONS, "c.txt": ""}
    with pytest.raises(InputError) as error:
        found(tmp_path, files)
    assert str(error.value).endswith(
        "(1 files of icdar2015, 1 files of yolo_box); say which count, as in data.format=icdar2015"
    )


def test_lines_of_no_format_are_told_by_their_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        found(tmp_path, {"a.txt": "notes\n", "gt/b.txt": "\n20,20,120,40,TOTAL\n"})
    assert (
        "(line 2 of gt/b.txt looks like left,top,right,bottom,text between commas; "
        "known are lines x1,y1,...,x4,y4,text; " in str(error.value)
    )


def test_what_has_no_layout_is_told_by_name(tmp_path: Path) -> None:
    said = r"\(a\.txt; b\.json with the keys 'k'; c\.json holding \[1\]\); the formats are "
    with pytest.raises(InputError, match=f"is known {said}"):
        found(tmp_path, {"a.txt": "notes\n", "b.json": '{"k": 1}', "c.json": "[1]"})
