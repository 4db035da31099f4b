"""The four layouts words and detections are read from, and what is refused."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import numpy as np
import pytest

from detector.core.errors import InputError
from detector.metrics.files import read_pages, read_pair

QUAD = [[0, 0], [10, 0], [10, 5], [0, 5]]


def write(path: Any, content: Any) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def images(**pages: Any) -> Any:
    return {"images": {name.replace("_jpg", ".jpg"): page for name, page in pages.items()}}


def test_json(tmp_path: Any) -> None:
    words = {
        "1": {"points": QUAD, "transcription": "합계"},
        "2": {"points": [], "transcription": None},
        "3": {"points": QUAD, "transcription": "###"},
        "4": {"points": QUAD, "ignore": True},
    }
    content = images(a_jpg={"words": words}, b_jpg={"words": {}}, c_jpg={"img_w": 3})
    pages = read_pages(write(tmp_path / "gt.json", content))
    assert pages["a.jpg"].texts == ["합계", None, "###", None]
    assert pages["a.jpg"].ignore == [False, False, True, True]
    assert [len(p) for p in pages["a.jpg"].polygons] == [4, 0, 4, 4]
    assert [pages[name].labelled for name in ("a.jpg", "b.jpg", "c.jpg")] == [True, True, False]


def test_csv(tmp_path: Any) -> None:
    text = "filename,polygons\na.jpg,0 0 10 0 10 5 0 5|1.5 1 2 1 2 2\nb.jpg,\n"
    pages = read_pages(write(tmp_path / "pred.csv", text))
    np.testing.assert_array_equal(pages["a.jpg"].polygons[0], QUAD)
    np.testing.assert_array_equal(pages["a.jpg"].polygons[1], [[1.5, 1], [2, 1], [2, 2]])
    assert pages["b.jpg"].polygons == []


def test_csv_field_longer_than_the_csv_modules_default(tmp_path: Any) -> None:
    polygons = "|".join(["1000 1000 1100 1000 1100 1020 1000 1020"] * 5000)
    path = write(tmp_path / "pred.csv", f"filename,polygons\na.jpg,{polygons}\n")
    assert len(read_pages(path)["a.jpg"].polygons) == 5000


def test_icdar_folder(tmp_path: Any) -> None:
    lines = '0,0,10,0,10,5,0,5,1,000\r\n0,0,10,0,10,5,0,5,###\n\n0,0,10,0,10,5,0,5,"a \\"b\\""\n'
    write(tmp_path / "gt" / "gt_img_1.txt", "\ufeff" + lines)
    write(tmp_path / "gt" / "img_2.TXT", "")
    write(tmp_path / "gt" / "notes.md", "not a page")
    pages = read_pages(tmp_path / "gt")
    assert list(pages) == ["img_1", "img_2"]
    assert pages["img_1"].texts == ["1,000", "###", 'a "b"']
    assert pages["img_1"].ignore == [False, True, False]
    np.testing.assert_array_equal(pages["img_1"].polygons[0], QUAD)


def test_icdar_predictions_are_polygons_unless_any_line_has_a_text(tmp_path: Any) -> None:
    six = "0,0,5,0,10,0,10,5,5,5,0,5,\n"
    write(tmp_path / "bare" / "res_a.txt", six)
    assert len(read_pages(tmp_path / "bare", predicted=True)["a"].polygons[0]) == 6
    # here 1,000 is the text of a quad, as the other line tells
    write(tmp_path / "text" / "res_a.txt", "0,0,10,0,10,5,0,5,1,000\n0,0,10,0,10,5,0,5,won\n")
    pages = read_pages(tmp_path / "text", predicted=True)
    assert [len(p) for p in pages["a"].polygons] == [4, 4]


def test_icdar_zip_pairs_with_names_that_have_an_image_suffix(tmp_path: Any) -> None:
    with zipfile.ZipFile(tmp_path / "res.zip", "w") as archive:
        archive.writestr("sub/res_img_1.txt", "0,0,10,0,10,5,0,5\n")
        archive.writestr("__MACOSX/sub/._res_img_1.txt", "junk")
    gt = write(tmp_path / "gt.json", images(img_1_jpg={"words": {}}))
    words, found = read_pair(gt, tmp_path / "res.zip")
    assert list(words) == list(found) == ["img_1"]


def test_unknown_pages_are_named(tmp_path: Any) -> None:
    gt = write(tmp_path / "gt.json", images(a_jpg={"words": {}}))
    pred = write(tmp_path / "pred.json", images(a_jpg={}, b_jpg={}, c_jpg={}))
    with pytest.raises(InputError, match=r"2 pages are not in .*gt\.json: b\.jpg, c\.jpg; predict"):
        read_pair(gt, pred)


BAD_FILES = {
    "gt.json": [
        ('{"images": {"a.jpg": {"wor', "not valid JSON"),
        ("[]", 'must hold {"images"'),
        ('{"images": []}', 'must hold {"images"'),
        ('{"images": {"a.jpg": 3}}', "a.jpg: must be a mapping, got int"),
        ('{"images": {"a.jpg": {"words": [1]}}}', "words must map ids, got list"),
        ('{"images": {"a.jpg": {"words": {"7": {}}}}}', "a.jpg: word 7: must hold points"),
        (
            '{"images": {"a.jpg": {"words": {"7": {"points": [[1, "x"]]}}}}}',
            r"word 7: every point must be two numbers \[x, y\], got",
        ),
        (
            '{"images": {"a.jpg": {"words": {"7": {"points": [], "transcription": 5}}}}}',
            "transcription must be text or null, got 5",
        ),
        (
            '{"images": {"a.jpg": {"words": {"7": {"points": [], "ignore": "no"}}}}}',
            "ignore must be true or false, got 'no'",
        ),
    ],
    "pred.csv": [
        ("", r"first line must be filename,polygons, got \[\]"),
        ("name,boxes\n", "first line must be filename,polygons"),
        ("filename,polygons\na.jpg,1 2 3\n", "line 2: coordinates must be pairs x y, got 3"),
        ("filename,polygons\na.jpg,1 2 x 3\n", "line 2: coordinates must be numbers"),
        ("filename,polygons\na.jpg,,1\n", "line 2: must be filename,polygons, got 3 fields"),
        ('filename,polygons\n"a.jpg,\n', "line 2: not valid CSV"),
        ("filename,polygons\na.jpg,\na.jpg,\n", "page a.jpg is given twice"),
    ],
    "icdar/gt_a.txt": [
        ("0,0,10,0,word\n", r"gt_a\.txt: line 1: must be x1,y1,x2,y2,x3,y3,x4,y4,text"),
        ("\n0,0,10,0,10,5,zero,5,word\n", r"gt_a\.txt: line 2: coordinates must be numbers"),
    ],
    "words.xml": [("", "unknown kind of file; expected a .json or .csv file")],
    "broken.zip": [("not a zip", "not a readable zip file")],
}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [(name, *case) for name, cases in BAD_FILES.items() for case in cases],
)
def test_bad_files_are_refused(tmp_path: Any, name: Any, content: Any, message: Any) -> None:
    path = write(tmp_path / name, content)
    target = path.parent if path.suffix == ".txt" else path
    with pytest.raises(InputError, match=message) as caught:
        read_pages(target)
    assert str(target) in str(caught.value)


def test_other_bad_sources(tmp_path: Any) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json: does not exist"):
        read_pages(tmp_path / "nowhere.json")
    with pytest.raises(InputError, match=r"holds no \.txt files"):
        read_pages(tmp_path)
    write(tmp_path / "gt_a.txt", "")
    write(tmp_path / "res_a.txt", "")
    with pytest.raises(InputError, match="page a is given twice"):
        read_pages(tmp_path)
    latin = tmp_path / "latin.json"
    latin.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"latin\.json: not UTF-8"):
        read_pages(latin)
