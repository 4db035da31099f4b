from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from label_files import label_file
from pdfs import scanned
from PIL import Image

from detector.core.errors import InputError
from detector.data.labels.annotations import list_splits, read_split, scan_split
from detector.data.labels.layout import dealt
from detector.data.labels.pages import LabelRules, Split
from detector.data.labels.source import is_annotated, read_source
from detector.data.labels.trained import apart

QUAD = "10,20,50,20,50,40,10,40"
SHAPE = {"label": "A", "points": [[10, 20], [50, 20], [50, 40]], "shape_type": "polygon"}


def dataset(root: Path, images: list[str], labels: dict[str, Any]) -> Path:
    """White images of 100 x 80 and label files, anywhere below a folder."""
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100, 80), "white").save(root / name)
    for name, content in labels.items():
        label_file(root, name, content)
    return root


def coco(*names: str) -> dict[str, Any]:
    """A file with a box in every image."""
    sizes = {"width": 100, "height": 80}
    box = {"bbox": [10, 20, 40, 20], "category_id": 1}
    return {
        "images": [{"id": i, "file_name": name, **sizes} for i, name in enumerate(names)],
        "annotations": [{"id": i, "image_id": i, **box} for i in range(len(names))],
        "categories": [{"id": 1, "name": "text"}],
    }


def told(split: Split) -> tuple[list[tuple[str, int]], list[tuple[str, str]]]:
    """(name, number of words) of the pages, and (file, kind) of the faults."""
    pages = [(page.name, len(page.words)) for page in split.pages]
    return pages, [(fault.file, fault.kind) for fault in split.faults]


@pytest.mark.parametrize("name", ["labels.json", "annotations/train_val.json"])
def test_one_file_tells_of_several_split_folders(tmp_path: Path, name: str) -> None:
    images = ["images/train/a.png", "images/train/sub/b.png", "images/val/c.png"]
    root = dataset(tmp_path, images, {name: coco("a.png", "sub/b.png", "val/c.png", "d.png")})
    lost = ("d.png", "no-image")
    assert told(scan_split(root, "train")) == ([("a.png", 1), ("sub/b.png", 1)], [lost])
    assert told(scan_split(root, "val")) == ([("c.png", 1)], [lost])
    assert is_annotated(root, "val")


@pytest.mark.parametrize(
    "names",
    [
        ("jsons/train.json", "jsons/val.json"),
        ("train/labels.json", "val/labels.json"),
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
        ("all.json", "jsons/val.json"),
    ],
)
def test_a_file_of_a_split_means_its_images(tmp_path: Path, names: tuple[str, str]) -> None:
    """Images of one name in two splits are told apart by the names of their label files."""
    labels = dict(zip(names, (coco("train/a.png"), coco("a.png")), strict=True))
    root = dataset(tmp_path, ["images/train/a.png", "images/val/a.png"], labels)
    for split in ("train", "val"):
        assert told(scan_split(root, split)) == ([("a.png", 1)], [])
        assert read_split(root, split).pages[0].path == root / "images" / split / "a.png"


def test_a_split_with_no_file_of_its_own_has_no_annotations(tmp_path: Path) -> None:
    root = dataset(tmp_path, ["images/train/a.png", "images/val/b.png"], {"train.json": coco("a")})
    assert not is_annotated(root, "val")
    with pytest.raises(InputError, match=r"split 'val', .* yolo_obb\); annotated splits: train$"):
        scan_split(root, "val")
    with pytest.raises(InputError, match="has no split 'vel'; splits that exist: train, val"):
        is_annotated(root, "vel")


def test_labels_may_lie_beside_images_in_folders_called_as_splits(tmp_path: Path) -> None:
    labels = {
        "train/1.json": {"version": "5", "imagePath": "1.png", "shapes": [SHAPE, SHAPE | {"a": 1}]},
        "valid/1.json": {"version": "5", "imagePath": "C:\\work\\1.png", "shapes": []},
    }
    root = dataset(tmp_path, ["train/1.png", "train/2.png", "valid/1.png"], labels)
    assert list_splits(root) == ["train", "val"]
    pages, faults = told(scan_split(root, "train"))
    assert [name for name, _ in pages] == ["train/1.png"]
    assert ("train/2.png", "no-annotation") in faults
    assert told(scan_split(root, "val")) == ([("valid/1.png", 0)], [])


def test_the_name_of_the_label_file_tells_the_split_where_folders_do_not(tmp_path: Path) -> None:
    labels = {"train.json": coco("a.png"), "test.json": coco("b.png"), "dev.json": coco("c.png")}
    root = dataset(tmp_path, ["in/a.png", "in/b.png", "in/c.png"], labels)
    source = read_source(root)
    assert {name: set(pages) for name, pages in source.splits.items()} == {
        "train": {"in/a.png"},
        "test": {"in/b.png"},
        "val": {"in/c.png"},
    }
    assert [page.name for page in read_split(root, "val").pages] == ["in/c.png"]


def test_pages_of_which_nothing_tells_the_split_are_dealt(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(10)]
    root = dataset(tmp_path, names, {"labels.json": coco(*names)})
    assert list_splits(root) == ["train", "val"]
    train, val = (read_split(root, split) for split in ("train", "val"))
    assert len(val.pages) >= 1
    assert sorted(page.name for page in (*train.pages, *val.pages)) == names
    assert train.faults == val.faults == ()
    with pytest.raises(InputError, match="has no split 'test'; splits that exist: train, val"):
        read_split(root, "test")


def test_an_only_page_is_for_training_and_for_validation(tmp_path: Path) -> None:
    images = ["a.png", "test/b.png"]
    root = dataset(tmp_path, images, {"labels.json": coco("a.png", "test/b.png")})
    train, val = (read_split(root, split) for split in ("train", "val"))
    assert told(train) == told(val) == ([("a.png", 1)], [])
    assert list_splits(root) == ["test", "train"]  # it is converted once
    kept, said = apart(train, val)
    assert kept == train
    assert said == (
        "1 of 1 pages to score on are trained on too, so scores tell nothing of new pages; add "
        "pages for validation"
    )


@pytest.mark.parametrize("folder", ["train", "training", "train2017"])
def test_without_a_folder_for_validation_a_share_of_the_training_pages_is(
    tmp_path: Path, folder: str
) -> None:
    names = [f"{i}.png" for i in range(10)]
    images = [f"images/{folder}/{name}" for name in names]
    root = dataset(tmp_path, images, {"labels.json": coco(*names)})
    train, val = (read_split(root, split) for split in ("train", "val"))
    assert [page.name for page in train.pages] == names
    assert list_splits(root) == [folder]
    shares = dealt(dict.fromkeys(names))
    assert [page.name for page in val.pages] == [n for n in names if shares[n] == "val"]
    kept, said = apart(train, val)
    assert [page.name for page in kept.pages] == [n for n in names if shares[n] == "train"]
    dealt_out = len(val.pages)
    assert said == f"{dealt_out} of 10 pages are for validation, and not trained on"
    with pytest.raises(InputError, match=f"no split 'test'; splits that exist: {folder}"):
        read_split(root, "test")


def test_pages_of_one_split_that_is_for_both_stay(tmp_path: Path) -> None:
    root = dataset(tmp_path, ["a.png", "b.png"], {"labels.json": coco("a.png", "b.png")})
    train = read_split(root, "train")
    kept, said = apart(train, train)
    assert kept == train
    assert said is not None
    assert said.startswith("1 of 1 pages to score on are trained on too")


@pytest.mark.parametrize("folder", ["valid", "val2017", "Validation", "dev"])
def test_a_split_may_be_asked_for_by_another_word(tmp_path: Path, folder: str) -> None:
    images = ["images/train/a.png", f"images/{folder}/b.png"]
    root = dataset(tmp_path, images, {"labels.json": coco("a.png", "b.png")})
    assert told(read_split(root, "val")) == ([("b.png", 1)], [])
    assert told(read_split(root, folder)) == ([("b.png", 1)], [])


def test_a_word_that_may_mean_two_splits_means_none(tmp_path: Path) -> None:
    images = ["images/val_a/a.png", "images/val_b/b.png"]
    root = dataset(tmp_path, images, {"labels.json": coco("a.png", "b.png")})
    with pytest.raises(InputError, match="no split 'val'; splits that exist: val_a, val_b"):
        read_split(root, "val")


def test_a_list_of_words_holds_for_the_pages_dealt_from_a_split(tmp_path: Path) -> None:
    images = ["images/train/a.png"]
    root = dataset(tmp_path, images, {"labels/train/a.txt": f"{QUAD},A\n1,1,9,1,9,9,1,9,B\n"})
    (root / "exclude.json").write_text('{"images": {"train/a.png": {"0001": {"kind": "blank"}}}}')
    for split in ("train", "val"):
        (page,) = read_split(root, split, exclude=root / "exclude.json").pages
        assert [word.text for word in page.words] == ["B"]


def test_an_image_that_two_files_tell_of_is_left_out(tmp_path: Path) -> None:
    labels = {"gt/gt_a.txt": f"{QUAD},A\n", "gt/a.txt": f"{QUAD},A\n", "gt/b.txt": f"{QUAD},B\n"}
    root = dataset(tmp_path, ["images/train/a.png", "images/train/b.png"], labels)
    split = scan_split(root, "train")
    assert told(split) == ([("b.png", 1)], [("a.png", "two-labels")])
    assert split.faults[0].message == (
        "its words stand 2 times, in gt/a.txt and gt/gt_a.txt; keep one; page excluded"
    )
    unlabelled = scan_split(root, "train", labelled=False)
    assert told(unlabelled) == told(split)


def test_a_file_that_fits_two_images_is_not_guessed(tmp_path: Path) -> None:
    images = ["images/train/b.png", "images/train/b.jpg", "images/train/ok.png"]
    labels = {"gt/b.txt": f"{QUAD},A\n", "gt/ok.txt": "", "gt/gt_lost.txt": f"{QUAD},B\n"}
    split = scan_split(dataset(tmp_path, images, labels), "train")
    shared = [("b.jpg", "shared-label"), ("b.png", "shared-label")]
    assert told(split) == ([("ok.png", 0)], [*shared, ("gt/gt_lost.txt", "no-image")])
    assert split.faults[0].message == (
        "b in gt/b.txt may mean b.jpg, b.png; say which; page excluded"
    )


def test_files_that_cannot_be_read_are_told_and_the_others_used(tmp_path: Path) -> None:
    labels = {
        "jsons/a.json": {"version": "5", "imagePath": "a.png", "shapes": []},
        "jsons/b.json": '{"shapes": [\n',
        "jsons/c.json": {"name": "settings"},
    }
    split = scan_split(dataset(tmp_path, ["images/train/a.png"], labels), "train")
    assert told(split) == (
        [("a.png", 0)],
        [("jsons/b.json", "bad-label-file"), ("jsons/c.json", "not-understood")],
    )
    broken, other = (fault.message for fault in split.faults)
    assert broken.startswith("not valid JSON at line 2, column 1: ")
    assert broken.endswith("the file looks cut short: copy it again; file left out")
    assert other == "is no file of the format labelme; file left out"


def test_a_file_that_is_broken_inside_is_told(tmp_path: Path) -> None:
    root = dataset(tmp_path, ["images/train/a.png"], {"a.json": {"shapes": {}, "imagePath": "a"}})
    split = scan_split(root, "train", rules=LabelRules(format="labelme"))
    assert ("a.json", "bad-label-file") in told(split)[1]


def test_a_format_that_is_said_reads_lines_that_are_mostly_none(tmp_path: Path) -> None:
    text = f"{QUAD},A\n1,2,3,4,B\nnan,1,9,1,9,9,1,9,C\n\n5,6,D\nE\n"
    root = dataset(tmp_path, ["images/train/a.png"], {"gt_a.txt": text})
    with pytest.raises(InputError, match=r"no labels in a format that is known \(gt_a\.txt\)"):
        scan_split(root, "train")
    split = scan_split(root, "train", rules=LabelRules(format="icdar2015"))
    assert [(word.id, word.ignore) for word in split.pages[0].words] == [
        ("0001", False),
        ("0002", True),
        ("0003", True),
    ]
    assert split.pages[0].words[2].points.tolist() == [[1, 1], [9, 1], [9, 9], [1, 9]]
    assert [(fault.word, fault.kind) for fault in split.faults] == [
        ("0002", "few-points"),
        ("0003", "non-finite"),
        ("0004", "no-place"),
        ("0005", "no-place"),
    ]


def test_texts_that_are_said_are_dont_care(tmp_path: Path) -> None:
    text = f"{QUAD},X\n{QUAD.replace('0', '1')},x\n1,1,9,1,9,9,1,9,###\n"
    root = dataset(tmp_path, ["images/train/a.png"], {"a.txt": text})
    for dont_care, ignored in (((), ["###"]), (("X", "?"), ["X", "###"])):
        words = read_split(root, "train", rules=LabelRules(dont_care=dont_care)).pages[0].words
        assert [word.text for word in words if word.ignore] == ignored
        assert len(words) == 3


def test_what_is_left_out_of_a_page_is_counted(tmp_path: Path) -> None:
    line = {"label": "l", "points": [[0, 0], [9, 9]], "shape_type": "line"}
    labels = {"a.json": {"version": "5", "imagePath": "a.png", "shapes": [line, line]}}
    split = scan_split(dataset(tmp_path, ["images/train/a.png"], labels), "train")
    (fault,) = split.faults
    assert (fault.file, fault.message) == ("a.png", "2 of line; no words")


@pytest.mark.parametrize("image", ["a.heic", "a.jp2", "images/train/gt_a.HEIC"])
def test_an_image_of_a_kind_that_is_not_read_is_named(tmp_path: Path, image: str) -> None:
    files = {"labels/train/gt_a.txt": f"{QUAD},a\n", image: b"\0", "readme.md": ""}
    (fault,) = scan_split(dataset(tmp_path, ["images/train/b.png"], files), "train").faults[1:]
    assert (fault.file, fault.kind) == ("labels/train/gt_a.txt", "no-image")
    assert f"; {image} is not of a kind that is read here (jpg, jpeg, png, " in fault.message


def test_marks_that_other_tools_write_are_words_unless_they_are_said(tmp_path: Path) -> None:
    marks = ("#", "*", "xxx")
    lines = [f"{QUAD.replace('0', str(i))},{mark}\n" for i, mark in enumerate(marks, 1)]
    root = dataset(tmp_path, ["images/train/a.png"], {"a.txt": "".join(lines)})
    for dont_care in ((), marks):
        words = read_split(root, "train", rules=LabelRules(dont_care=dont_care)).pages[0].words
        assert [(word.text, word.ignore) for word in words] == [(m, m in dont_care) for m in marks]


def scans(root: Path) -> Path:
    """The split `train` of a PDF of one page and one of three, of 100 x 80 pixels each."""
    (root / "images/train/sub").mkdir(parents=True)
    scanned(root / "images/train/one.pdf", [(100, 80)])
    scanned(root / "images/train/sub/deed.PDF", [(100, 80)] * 3)
    return root


def test_labels_name_pages_of_a_pdf(tmp_path: Path) -> None:
    root = scans(tmp_path)
    names = ["one.pdf", "deed.pdf#page=1", "deed.PDF#page=3"]
    label_file(root, "train.json", coco(*names))
    pages, faults = told(scan_split(root, "train"))
    assert pages == [("one.pdf", 1), ("sub/deed.PDF#page=1", 1), ("sub/deed.PDF#page=3", 1)]
    assert faults == [
        ("sub/deed.PDF#page=1", "name-differs"),
        ("sub/deed.PDF#page=2", "no-annotation"),
    ]


def test_a_pdf_of_several_pages_is_no_page(tmp_path: Path) -> None:
    label_file(scans(tmp_path), "train.json", coco("one.pdf", "deed.pdf"))
    split = scan_split(tmp_path, "train")
    assert [page.name for page in split.pages] == ["one.pdf"]
    assert {fault.kind for fault in split.faults} == {"shared-label"}
    wanted = "deed.pdf in train.json may mean sub/deed.PDF#page=1, sub/deed.PDF#page=2, "
    assert [fault.message.startswith(wanted) for fault in split.faults] == [True] * 3


def textract(*numbers: int) -> dict[str, Any]:
    """An answer of Textract with a word on each of three pages but those that are not told."""
    box = {"BoundingBox": {"Left": 0.1, "Top": 0.25, "Width": 0.4, "Height": 0.25}}
    words = [{"BlockType": "WORD", "Text": str(n), "Page": n, "Geometry": box} for n in numbers]
    return {"DocumentMetadata": {"Pages": 3}, "Blocks": words}


def vision(*numbers: int) -> dict[str, Any]:
    """Answers of Cloud Vision about a file that lay in a bucket."""
    corners = [{"x": x, "y": y} for x, y in ((0.1, 0.25), (0.5, 0.25), (0.5, 0.5), (0.1, 0.5))]
    word = {"boundingBox": {"normalizedVertices": corners}}
    answers = [
        {
            "fullTextAnnotation": {
                "pages": [
                    {
                        "blocks": [
                            {"paragraphs": [{"words": [word | {"symbols": [{"text": str(n)}]}]}]}
                        ]
                    }
                ]
            },
            "context": {"uri": "gs://elsewhere/deed.pdf", "pageNumber": n},
        }
        for n in numbers
    ]
    return {"responses": answers}


def azure(*numbers: int) -> dict[str, Any]:
    """A result of Azure's Read about a document, which is measured in inches."""
    words = {n: [{"content": str(n), "polygon": [1, 2, 5, 2, 5, 4, 1, 4]}] for n in numbers}
    page = {"unit": "inch", "width": 10, "height": 8}
    return {"pages": [{"pageNumber": n, **page, "words": own} for n, own in words.items()]}


def alto(number: int) -> str:
    box = 'HPOS="10" VPOS="20" WIDTH="40" HEIGHT="20"'
    about = "<sourceImageInformation><fileName>c:/deed.pdf</fileName></sourceImageInformation>"
    return (
        f"<alto><Description><MeasurementUnit>pixel</MeasurementUnit>{about}</Description><Layout>"
        f'<Page PHYSICAL_IMG_NR="{number}" WIDTH="100" HEIGHT="80"><TextLine>'
        f'<String {box} CONTENT="{number}"/></TextLine></Page></Layout></alto>'
    )


@pytest.mark.parametrize(
    "labels",
    [
        {"sub/deed.json": textract(1, 3)},
        {"output-1-to-3.json": vision(1, 3)},
        {"first.json": vision(1), "third.json": vision(3)},
        {"sub/deed.json": azure(1, 3)},
        {"first.xml": alto(1), "third.xml": alto(3)},
    ],
    ids=["textract", "vision", "vision, a file a page", "azure", "alto"],
)
def test_numbers_of_pages_find_those_of_the_pdf(tmp_path: Path, labels: dict[str, Any]) -> None:
    root = scans(tmp_path)
    for name, content in labels.items():
        label_file(root, name, content)
    split = scan_split(root, "train")
    texts = {page.name: [word.text for word in page.words] for page in split.pages}
    assert texts == {"sub/deed.PDF#page=1": ["1"], "sub/deed.PDF#page=3": ["3"]}
    for page in split.pages:
        assert page.words[0].points.tolist() == [[10, 20], [50, 20], [50, 40], [10, 40]]
    assert {fault.kind for fault in split.faults} == {"no-annotation"}


def test_a_pdf_that_cannot_be_read_is_a_fault_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_file(scans(tmp_path), "train.json", coco("one.pdf", "deed.pdf#page=2"))
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    faults = scan_split(tmp_path, "train").faults
    broken = {fault.file: fault.message for fault in faults if fault.kind == "broken-image"}
    assert broken.keys() == {"one.pdf", "sub/deed.PDF"}
    assert all("pip install -e '.[pdf]'" in message for message in broken.values())
