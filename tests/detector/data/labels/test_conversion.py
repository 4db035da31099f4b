from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from pdfs import scanned
from PIL import Image
from shapely import Polygon

from detector.core.errors import InputError
from detector.data.labels.annotations import scan_all
from detector.data.labels.conversion import require_output, told, write_labels, writers
from detector.data.labels.pages import Fault, Page, Word

SIZE = (200, 100)
NAMES = ["a/x.png", "b c/50% [1].PNG", "x.png", "영수증.jpg"]
PAGES = [f"c/x.PDF#page={number}" for number in (1, 2)]  # beside others of the same stem
FORMATS = ["coco", "icdar", "labelme", "labelstudio", "native", "ppocrlabel"]
TEXTS = [
    *("합계 1,000원", '"quoted"', '"', "a, b", "two\nlines", "\ttab", " blank", "text", "ignore"),
    *("7", "5,6", "1,234.00", "8,9,10,11", "###", "*", "", "None", "{}", "Korean,x", "\u2028"),
]
ANY_TEXT = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=6)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name in NAMES:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", SIZE).save(folder / name)
    (folder / "c").mkdir()
    scanned(folder / "c" / "x.PDF", [SIZE, SIZE])
    return folder


@st.composite
def outlines(draw: st.DrawFn, corners: st.SearchStrategy[int]) -> np.ndarray:
    """Around a point of the page, clockwise, over its edges too, in hundredths of a pixel."""
    count, turn = draw(corners), draw(st.floats(0, 2 * math.pi))
    x, y = draw(st.floats(1, SIZE[0] - 1)), draw(st.floats(1, SIZE[1] - 1))
    angles = [turn + 2 * math.pi * number / count for number in range(count)]
    radii = draw(st.lists(st.floats(8, 60), min_size=count, max_size=count))
    points = [
        (x + r * math.cos(angle), y + r * math.sin(angle))
        for r, angle in zip(radii, angles, strict=True)
    ]
    return np.round(points, 2).astype(np.float32)


@st.composite
def words(draw: st.DrawFn, corners: st.SearchStrategy[int]) -> tuple[Word, ...]:
    found = []
    for points in draw(st.lists(outlines(corners), max_size=4, unique_by=lambda p: p.tobytes())):
        text = draw(st.none() | st.sampled_from(TEXTS) | ANY_TEXT)
        ignore = draw(st.booleans()) or text == "###"
        found.append(Word(f"{len(found) + 1:04d}", points, text or None, ignore))
    return tuple(found)


def page(root: Path, name: str, own: tuple[Word, ...]) -> Page:
    return Page(name, root / name, *SIZE, own)


def back(pages: list[Page], to: str, root: Path, folder: Path) -> tuple[dict[str, Page], Counter]:
    """The pages as they are read from the labels that were written, and what was left out."""
    output = folder / ("" if to in ("icdar", "labelme", "ppocrlabel") else "labels.json")
    left = write_labels(pages, to, output, root, copy_images=True)
    found = scan_all(folder)
    assert not [f for f in found.faults if f.kind not in ("partly-outside", "no-annotation")]
    return {page.name: page for page in found.pages}, left


def written_text(to: str, word: Word) -> str:
    """The text that a format keeps of a word: two know don't-care by the text alone."""
    text = (word.text or "").replace("\n", " " if to == "icdar" else "\n")
    if to not in ("icdar", "ppocrlabel"):
        return text
    marks = text in ("###", "*") if to == "ppocrlabel" else text.strip().strip('"') == "###"
    if word.ignore == marks:
        return text
    return "###" if word.ignore else ""


@pytest.mark.parametrize("to", FORMATS)
@given(data=st.data())
@examples(100)
def test_there_and_back_is_the_same(
    to: str, root: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    corners = st.just(4) if to == "icdar" else st.integers(4, 14)
    pages = [page(root, name, data.draw(words(corners))) for name in NAMES + PAGES]
    found, _ = back(pages, to, root, tmp_path_factory.mktemp(to))
    assert found.keys() == {*NAMES, *PAGES}
    for one in pages:
        other = found[one.name]
        assert (other.width, other.height) == SIZE
        assert len(other.words) == len(one.words)
        for before, after in zip(one.words, other.words, strict=True):
            assert np.abs(before.points - after.points).max() <= 0.01
            assert before.ignore == after.ignore
            assert (after.text or "") == written_text(to, before)


def test_the_writers_are_these() -> None:
    assert sorted(writers()) == FORMATS


def test_what_a_format_has_no_place_for_is_counted(root: Path, tmp_path: Path) -> None:
    box = np.array([[10, 10], [90, 10], [90, 40], [10, 40]], np.float32)
    bent = np.array([[10, 50], [50, 60], [90, 50], [90, 80], [10, 80]], np.float32)
    own = (
        Word("0001", box, "a\nb", False, ("ko",), "Vertical"),
        Word("0002", bent, "torn", True),
    )
    found, left = back([page(root, "x.png", own)], "icdar", root, tmp_path)
    assert left == {
        "language": 1,
        "orientation": 1,
        "line break in a text": 1,
        "text of a don't-care word": 1,
        "outline of more than four corners, whose box is written": 1,
    }
    first, second = found["x.png"].words
    assert (first.text, second.text, second.ignore) == ("a b", "###", True)
    assert Polygon(second.points).equals(Polygon([(10, 50), (90, 50), (90, 80), (10, 80)]))


def test_the_own_format_has_a_place_for_everything(root: Path, tmp_path: Path) -> None:
    box = np.array([[-1.25, 10], [90, 10], [90, 40], [-1.25, 40]], np.float32)
    own = (Word("line7", box, "합계", True, ("ko", "en"), "Horizontal"),)
    left = write_labels([page(root, "a/x.png", own)], "native", tmp_path / "l.json", root)
    assert not left
    assert json.loads((tmp_path / "l.json").read_text(encoding="utf-8")) == {
        "images": {
            "a/x.png": {
                "img_w": 200,
                "img_h": 100,
                "words": {
                    "0001": {
                        "points": [[-1.25, 10], [90, 10], [90, 40], [-1.25, 40]],
                        "transcription": "합계",
                        "ignore": True,
                        "language": ["ko", "en"],
                        "orientation": "Horizontal",
                    }
                },
            }
        }
    }


def content(root: Path, to: str, output: Path, names: tuple[str, ...] = ("a/x.png",)) -> Any:
    box = np.array([[20, 10], [90, 10], [90, 40], [20, 40]], np.float32)
    own = (Word("0001", box, "TOTAL", False),)
    write_labels([page(root, name, own) for name in names], to, output, root)
    files = [path for path in sorted(output.rglob("*")) if path.is_file()]
    return {path.relative_to(output).as_posix(): path.read_text("utf-8") for path in files}


def test_labelme_finds_the_images_where_they_are(root: Path, tmp_path: Path) -> None:
    files = content(root, "labelme", tmp_path / "labels")
    one = json.loads(files["a/x.json"])
    assert (tmp_path / "labels/a" / one["imagePath"]).samefile(root / "a/x.png")
    assert one["shapes"][0]["points"] == [[20, 10], [90, 10], [90, 40], [20, 40]]
    assert one["imageHeight"], one["imageWidth"] == (100, 200)


def test_ppocrlabel_has_a_file_in_each_folder(root: Path, tmp_path: Path) -> None:
    files = content(root, "ppocrlabel", tmp_path, ("x.png", "a/x.png"))
    assert files.keys() == {"Label.txt", "a/Label.txt"}
    assert files["a/Label.txt"] == (
        'a/x.png\t[{"transcription": "TOTAL", "points": [[20, 10], [90, 10], [90, 40], [20, 40]], '
        '"difficult": false}]\n'
    )
    assert files["Label.txt"].startswith(f"{root.name}/x.png\t")


def test_icdar_has_a_text_file_an_image(root: Path, tmp_path: Path) -> None:
    files = content(root, "icdar", tmp_path)
    assert files == {"a/gt_x.txt": "20,10,90,10,90,40,20,40,TOTAL\n"}


def test_label_studio_is_told_the_folder_and_shares_of_the_page(root: Path, tmp_path: Path) -> None:
    box = np.array([[20, 10], [90, 10], [90, 40], [20, 40]], np.float32)
    name = "b c/50% [1].PNG"
    pages = [page(root, name, (Word("0001", box, "TOTAL", True),))]
    write_labels(pages, "labelstudio", tmp_path / "t.json", root)
    (task,) = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert task["data"]["ocr"] == f"/data/local-files/?d={root.name}/b%20c/50%25%20%5B1%5D.PNG"
    results = task["annotations"][0]["result"]
    assert [part["from_name"] for part in results] == ["poly", "label", "transcription"]
    assert results[0]["value"]["points"] == [[10, 10], [45, 10], [45, 40], [10, 40]]
    assert results[1]["value"]["labels"] == ["Ignore"]
    assert results[2]["value"]["text"] == ["TOTAL"]


def test_coco_has_the_box_and_the_area_too(root: Path, tmp_path: Path) -> None:
    box = np.array([[20, 10], [90, 10], [90, 40], [20, 40]], np.float32)
    pages = [page(root, "x.png", (Word("0001", box, None, True),))]
    write_labels(pages, "coco", tmp_path / "c.json", root)
    assert json.loads((tmp_path / "c.json").read_text("utf-8")) == {
        "images": [{"id": 1, "file_name": "x.png", "width": 200, "height": 100}],
        "categories": [{"id": 1, "name": "text"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "segmentation": [[20, 10, 90, 10, 90, 40, 20, 40]],
                "bbox": [20, 10, 70, 30],
                "area": 2100,
                "iscrowd": 1,
                "text": "",
            }
        ],
    }


def test_labels_that_were_read_are_not_replaced(tmp_path: Path) -> None:
    Image.new("RGB", SIZE).save(tmp_path / "x.png")
    (tmp_path / "x.json").write_text('{"shapes": [], "imagePath": "x.png"}', "utf-8")
    pages = [page(tmp_path, "x.png", ())]
    with pytest.raises(InputError, match=r"x\.json is among the labels that are there"):
        write_labels(pages, "labelme", tmp_path, tmp_path)
    assert "version" not in (tmp_path / "x.json").read_text("utf-8")
    write_labels(pages, "icdar", tmp_path, tmp_path)
    assert (tmp_path / "gt_x.txt").read_text("utf-8") == ""


def test_two_images_for_one_label_file_are_refused(tmp_path: Path) -> None:
    for name in ("x.png", "x.jpg"):
        Image.new("RGB", SIZE).save(tmp_path / name)
    pages = [page(tmp_path, name, ()) for name in ("x.png", "x.jpg")]
    with pytest.raises(InputError, match=r"gt_x\.txt would be of 2 images"):
        write_labels(pages, "icdar", tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("to", "output", "message"),
    [
        ("voc", "x.json", r"to: must be one of coco, icdar, .* got 'voc'"),
        ("coco", "x.jpg", r"output: coco is one file that ends in \.json, got "),
        ("labelme", "x.png", r"output: .* is a file; give a folder"),
    ],
)
def test_an_output_that_does_not_suit_the_format_is_told(
    tmp_path: Path, to: str, output: str, message: str
) -> None:
    (tmp_path / "x.png").touch()
    with pytest.raises(InputError, match=message):
        require_output(to, tmp_path / output)


def test_faults_are_told_by_kind() -> None:
    faults = [
        Fault("a.jpg", "0001", "zero-area", "no area"),
        Fault("b.jpg", None, "left-out", "2 of point; no words"),
        Fault("c.jpg", "0007", "zero-area", "no area either"),
        Fault("c.jpg", None, "left-out", "3 of point; no words"),
    ]
    assert list(told(faults)) == [
        "2 zero-area, the first: a.jpg, word 0001: no area",
        "no words, so left out: 5 x point",
    ]
