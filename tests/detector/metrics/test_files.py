"""The files words and detections are read from, which pages are the same, and what is refused."""

from __future__ import annotations

import contextlib
import json
import unicodedata
import zipfile
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from pdfs import scanned
from PIL import Image

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
    pair = read_pair(gt, tmp_path / "res.zip")
    assert list(pair.truth) == list(pair.found) == ["img_1.jpg"]
    assert len(pair.found["img_1.jpg"].polygons) == 1


def test_predictions_of_more_pages_are_left_out_and_told(tmp_path: Any) -> None:
    gt = write(tmp_path / "gt.json", images(a_jpg={"words": {}}))
    pred = write(tmp_path / "pred.json", images(c_jpg={}, a_jpg={}, b_jpg={}))
    pair = read_pair(gt, pred)
    assert (list(pair.found), pair.extra, pair.missing) == (["a.jpg"], ("b.jpg", "c.jpg"), ())


def test_unknown_pages_are_refused_where_others_are_missing(tmp_path: Any) -> None:
    gt = write(tmp_path / "gt.json", images(a_jpg={"words": {}}, d_jpg={"words": {}}, e_jpg={}))
    pred = write(tmp_path / "pred.json", images(a_jpg={}, b_jpg={}, c_jpg={}))
    message = r"2 pages are not in .*gt\.json: b\.jpg, c\.jpg, and 1 .* missing: d\.jpg; give"
    with pytest.raises(InputError, match=message):
        read_pair(gt, pred)
    unlabelled = write(tmp_path / "none.json", images(z_jpg={}))
    with pytest.raises(InputError, match=r"3 pages are not in .*none\.json: a\.jpg, b\.jpg, c"):
        read_pair(unlabelled, pred)


def test_pages_are_the_same_in_either_unicode_form_and_with_any_folder(tmp_path: Any) -> None:
    composed = "\ud569\uacc4.v1"
    gt = write(tmp_path / "gt.json", images(**{f"sub/{composed}.JPG": {"words": {}}}))
    for name in (composed, f"res_{composed}", f"gt_{composed}"):
        folder = tmp_path / str(len(name))
        write(folder / f"{unicodedata.normalize('NFD', name)}.txt", "0,0,10,0,10,5,0,5\n")
        assert list(read_pair(gt, folder).found) == [f"sub/{composed}.JPG"]
        assert list(read_pair(folder, gt).found) == [composed]


def test_a_name_counts_as_it_stands_before_it_counts_without_a_prefix(tmp_path: Any) -> None:
    gt = write(tmp_path / "gt.json", images(a_jpg={"words": {}}, gt_a_jpg={"words": {}}))
    write(tmp_path / "pred" / "gt_a.txt", "")
    assert list(read_pair(gt, tmp_path / "pred").found) == ["gt_a.jpg"]


def test_a_name_that_may_be_two_pages_is_refused(tmp_path: Any) -> None:
    gt = write(tmp_path / "gt.json", {"images": {"x/a.jpg": {}, "y/a.jpg": {}}})
    pred = write(tmp_path / "pred.json", images(a_jpg={}))
    with pytest.raises(InputError, match=r"a\.jpg may be x/a\.jpg, y/a\.jpg of .*; say which"):
        read_pair(gt, pred)
    with pytest.raises(InputError, match=r"page a\.jpg is given twice"):
        read_pair(pred, gt)


BOX = [[1, 2], [11, 2], [11, 7], [1, 7]]
AS_BOXES = "lines of four numbers are read as left,top,right,bottom"
PENTAGON = "0,0,8,0,12,3,8,6,0,6"
RESULT_LINES = {
    "boxes": (
        "1,2,11,7\r\n",
        [BOX],
        {"lines of four numbers are read as left,top,right,bottom": 1},
    ),
    "boxes with confidences": (
        "1,2,11,7,0.9\n1,2,11,7,1\n",
        [BOX, BOX],
        {AS_BOXES: 1, "confidence left out": 2},
    ),
    "four corners": ("1,2,11,2,11,7,1,7\n\ufeff1,2,11,2,11,7,1,7,\n", [BOX, BOX], {}),
    "four corners with a confidence": ("1,2,11,2,11,7,1,7,0.98", [BOX], {"confidence left out": 1}),
    "four corners with a confidence and a text": ("1,2,11,2,11,7,1,7,0.98,won", [BOX], {}),
    "four corners with amounts": ("1,2,11,2,11,7,1,7,1,000\n" * 2, [BOX, BOX], {}),
    "outlines": (PENTAGON, [[[0, 0], [8, 0], [12, 3], [8, 6], [0, 6]]], {}),
    "outlines with confidences": (
        f"{PENTAGON},0.5\n",
        [[[0, 0], [8, 0], [12, 3], [8, 6], [0, 6]]],
        {"confidence left out": 1},
    ),
}


@pytest.mark.parametrize(("text", "polygons", "notes"), RESULT_LINES.values(), ids=RESULT_LINES)
def test_lines_of_results(tmp_path: Any, text: str, polygons: Any, notes: Any) -> None:
    write(tmp_path / "pred" / "res_a.txt", text)
    page = read_pages(tmp_path / "pred", predicted=True)["a"]
    assert [p.tolist() for p in page.polygons] == polygons
    assert page.notes == notes


BAD_RESULT_LINES = {
    "1,2,11,7\n1,2,11,2,11,7,1,7\n": r"line 1: must be x1,y1,...,x4,y4, as other .* 4 numbers",
    "1,2,11,7\n100,20,30,10\n": "line 2: must be left,top,right,bottom .* right or bottom comes",
    "1,2,3,4,5,6\n": "line 1: must be x1,y1,.*, got 6 numbers",
    f"{PENTAGON}\n{PENTAGON},0.5\n{PENTAGON}": "line 2: must be pairs x,y, as .* 11 numbers",
    f"{PENTAGON},300\n": "line 1: must be pairs x,y and a confidence, as .* got 11 numbers",
    "0.1,0.2,0.3,0.4\n": "all points of its words lie between 0 and 1",
    "1,2,11,2,11,7,1,7,a\n1,2,3,b\n1,2,11,2,11,7,1,7,a": "line 2: must be x1,.*,text, got 1 points",
}


@pytest.mark.parametrize(("text", "message"), BAD_RESULT_LINES.items())
def test_lines_that_may_be_anything_are_refused(tmp_path: Any, text: str, message: str) -> None:
    write(tmp_path / "pred" / "res_a.txt", text)
    with pytest.raises(InputError, match=message):
        read_pages(tmp_path / "pred", predicted=True)


FIELDS = st.floats() | st.integers(-9, 999) | st.text(max_size=4) | st.just(10**400)


@examples(100)
@given(lines=st.lists(st.lists(FIELDS, max_size=12), max_size=4), predicted=st.booleans())
def test_any_lines_end_in_pages_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, lines: Any, predicted: bool
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    text = "\n".join(",".join(map(str, fields)) for fields in lines)
    (folder / "a.txt").write_text(text, encoding="utf-8", errors="replace")
    with contextlib.suppress(InputError):
        pages = read_pages(folder, predicted=predicted)
        assert list(pages) == ["a"]
        assert len(pages["a"].polygons) == len([line for line in _lines(text) if line.strip()])


def _lines(text: str) -> list[str]:
    return text.replace("\r", "\n").replace("\ufeff", "").split("\n")


def test_two_points_are_no_detection(tmp_path: Any) -> None:
    word = {"points": [[10, 10], [100, 30]]}
    path = write(tmp_path / "pred.json", images(a_jpg={"words": {"1": word}}))
    with pytest.raises(InputError, match=r"a\.jpg: word 1: .* at least 3 points.*, got 2; write"):
        read_pages(path, predicted=True)
    assert [len(p) for p in read_pages(path)["a.jpg"].polygons] == [2]


def test_a_ground_truth_in_any_format(tmp_path: Any) -> None:
    write(tmp_path / "mlt" / "gt_a.txt", "0,0,9,0,9,5,0,5,Korean,a, b\n0,0,8,0,8,5,0,5,Latin,###")
    page = read_pages(tmp_path / "mlt")["a"]
    assert (page.texts, page.ignore) == (["a, b", "###"], [False, True])
    write(tmp_path / "ic13" / "gt_a.txt", '1, 2, 11, 7, "a"\n')
    page = read_pages(tmp_path / "ic13")["a"]
    assert (page.texts, [p.tolist() for p in page.polygons]) == (["a"], [BOX])
    write(tmp_path / "boxes" / "gt_a.txt", "1,2,11,7\n")
    assert [p.tolist() for p in read_pages(tmp_path / "boxes")["a"].polygons] == [BOX]
    shapes = [
        {"shape_type": "rectangle", "label": "a", "points": [[1, 2], [11, 7]]},
        {"shape_type": "point", "label": "b", "points": [[1, 2]]},
    ]
    labelme = {"version": "5.0", "imagePath": "..\\x\\a.jpg", "shapes": shapes}
    gt = write(tmp_path / "a.json", labelme | {"imageWidth": 50, "imageHeight": 40})
    (page,) = read_pages(gt).values()
    assert [p.tolist() for p in page.polygons] == [BOX]
    assert page.notes == {"point left out": 1}
    write(tmp_path / "found" / "res_a.txt", "1,2,11,7,0.5\n")
    assert len(read_pair(gt, tmp_path / "found").found) == 1


def test_files_of_other_kinds_beside_the_ground_truth(tmp_path: Any) -> None:
    line = "0,0,10,0,10,5,0,5,a\n"
    write(tmp_path / "gt_a.txt", line)
    write(tmp_path / "README.txt", "none")
    write(tmp_path / "config.xml", "<View/>")
    assert list(read_pages(tmp_path)) == ["a"]
    write(tmp_path / "notes.txt", "to do: page b")
    with pytest.raises(InputError, match=r"notes\.txt: is no file of the format icdar2015, as"):
        read_pages(tmp_path)


def test_shares_of_an_image_need_its_size(tmp_path: Any) -> None:
    write(tmp_path / "yolo" / "a.txt", "0 0.5 0.5 0.2 0.1\n")
    with pytest.raises(InputError, match=r"a\.txt: a: its points are shares of an image"):
        read_pages(tmp_path / "yolo")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (200, 100)).save(tmp_path / "images" / "a.png")
    page = read_pages(tmp_path / "yolo", images=tmp_path / "images")["a"]
    np.testing.assert_allclose(page.polygons[0], [[80, 45], [120, 45], [120, 55], [80, 55]])


def test_shares_of_a_page_of_a_pdf(tmp_path: Any) -> None:
    write(tmp_path / "yolo" / "a.pdf#page=2.txt", "0 0.5 0.5 0.2 0.1\n")
    (tmp_path / "images").mkdir()
    scanned(tmp_path / "images" / "a.pdf", [(100, 100), (200, 100)])
    page = read_pages(tmp_path / "yolo", images=tmp_path / "images")["a.pdf#page=2"]
    np.testing.assert_allclose(page.polygons[0], [[80, 45], [120, 45], [120, 55], [80, 55]])


BAD_FILES = {
    "gt.json": [
        ('{"images": {"a.jpg": {"wor', "not valid JSON"),
        ("[]", "no labels in a format that is known .*holding \\[\\]"),
        ('{"images": []}', "no labels in a format that is known .*the keys 'images'"),
        ('{"images": {"a.jpg": 3}}', "a.jpg: a page must be an object with words, got int"),
        ('{"images": {"a.jpg": {"words": [1]}}}', "a.jpg: words must be an object .*, got list"),
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
        ("0,0,10,0,word\n", r"line 1 of gt_a\.txt looks like left,top,right,bottom,text"),
        ("\n0,0,10,0,10,5,zero,5,word\n", r"line 2 of gt_a\.txt looks like 6 numbers"),
    ],
    "words.docx": [("", "unknown kind of file; expected a file, a .zip or a folder")],
    "words.xml": [("", "not valid XML")],
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
    with pytest.raises(InputError, match="holds no file of labels"):
        read_pages(tmp_path)
    write(tmp_path / "gt_a.txt", "")
    write(tmp_path / "res_a.txt", "")
    with pytest.raises(InputError, match="page a is given twice"):
        read_pages(tmp_path)
    latin = tmp_path / "latin.json"
    latin.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"latin\.json: begins as utf-16 and is not"):
        read_pages(latin)
