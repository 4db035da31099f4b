from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

from detector.config.answer import collected
from detector.config.cli import build
from detector.convert import ConvertSettings, main
from detector.core.errors import InputError
from detector.data.labels.conversion import writers

BOX = [[10, 10], [90, 10], [90, 40], [10, 40]]


def convert(**values: Any) -> int:
    return main(
        build(
            ConvertSettings,
            {
                key.replace("_", ".", 1) if key.startswith("data") else key: value
                for key, value in values.items()
            },
        )
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def picture(path: Path, size: tuple[int, int] = (200, 100), orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[274] = orientation
    Image.new("RGB", size).save(path, exif=exif)


def test_every_format_that_can_be_written_can_be_chosen() -> None:
    assert sorted(get_args(ConvertSettings.model_fields["to"].annotation)) == sorted(writers())


def test_all_splits_become_one_file_by_paths(
    make_dataset: Callable, tmp_path: Path, capsys
) -> None:
    root = make_dataset(tmp_path / "data", split="train", pages=2)
    make_dataset(root, split="val", pages=1)
    picture(root / "images/test/x.jpg")
    with collected() as answer:
        assert convert(data_root=root, output=tmp_path / "all.json") == 0
    images = read(tmp_path / "all.json")["images"]
    assert list(images) == [
        "images/train/train_000.jpg",
        "images/train/train_001.jpg",
        "images/val/val_000.jpg",
    ]
    assert answer["images"] == 3
    assert answer["words"] == sum(len(image["words"]) for image in images.values())
    expected = read(root / "jsons/val.json")["images"]["val_000.jpg"]
    assert images["images/val/val_000.jpg"] == expected
    told = capsys.readouterr().err
    assert "1 no-annotation, the first: split test: there is no label file" in told
    assert "12 words on 3 images: " in told


def test_splits_of_one_name_keep_their_words(tmp_path: Path) -> None:
    for split in ("train", "val"):
        picture(tmp_path / f"data/images/{split}/1.png")
        page = {"words": {"0001": {"points": BOX, "transcription": split}}}
        (tmp_path / "data/jsons").mkdir(exist_ok=True)
        file = tmp_path / f"data/jsons/{split}.json"
        file.write_text(json.dumps({"images": {"1.png": page}}), "utf-8")
    convert(data_root=tmp_path / "data", output=tmp_path / "o.json")
    images = read(tmp_path / "o.json")["images"]
    assert {name: page["words"]["0001"]["transcription"] for name, page in images.items()} == {
        "images/train/1.png": "train",
        "images/val/1.png": "val",
    }


def test_one_file_for_splits_with_the_same_names_keeps_them_apart(tmp_path: Path) -> None:
    pages = {}
    for split in ("train", "val"):
        picture(tmp_path / f"data/images/{split}/1.png")
        words = {"0001": {"points": BOX, "transcription": split}}
        pages[f"images/{split}/1.png"] = {"img_w": 200, "img_h": 100, "words": words}
    (tmp_path / "data/labels.json").write_text(json.dumps({"images": pages}), "utf-8")
    convert(data_root=tmp_path / "data", output=tmp_path / "o.json")
    told = {
        name: page["words"]["0001"]["transcription"]
        for name, page in read(tmp_path / "o.json")["images"].items()
    }
    assert told == {"images/train/1.png": "train", "images/val/1.png": "val"}


def test_a_folder_as_a_tool_leaves_it_is_read_and_what_is_no_word_is_counted(
    tmp_path: Path, capsys
) -> None:
    """The image is stored on its side; its labels belong to the displayed one of 100 x 200."""
    picture(tmp_path / "data/a/x.jpg", orientation=6)
    shapes = [
        {"label": "합계", "points": [[10, 150], [40, 150], [40, 180], [10, 180]]},
        {"label": "here", "points": [[1, 1]], "shape_type": "point"},
        {"label": "line", "points": [[1, 1], [9, 1], [5, 1], [3, 1]]},
    ]
    content = {"shapes": shapes, "imagePath": "C:\\x.jpg", "imageHeight": 200, "imageWidth": 100}
    (tmp_path / "data/a/x.json").write_text(json.dumps(content), "utf-8")
    (tmp_path / "data/notes.json").write_text("[1]", "utf-8")
    assert convert(data_root=tmp_path / "data", output=tmp_path / "o.json") == 0
    page = read(tmp_path / "o.json")["images"]["a/x.jpg"]
    assert (page["img_w"], page["img_h"]) == (100, 200)
    assert page["words"] == {
        "0001": {"points": shapes[0]["points"], "transcription": "합계", "ignore": False}
    }
    told = capsys.readouterr().err
    assert "no words, so left out: 1 x point" in told
    assert "1 zero-area, the first: a/x.jpg, word 0002: " in told
    assert "1 not-understood, the first: notes.json: " in told


def test_sizes_in_xml_are_numbers_that_tell_which_image_the_points_belong_to(
    tmp_path: Path, capsys
) -> None:
    """Stored as 200 x 100 and displayed as 100 x 200: (x, y) moves to (100 - y, x)."""
    picture(tmp_path / "data/x.jpg", orientation=6)
    size = "<size><width>200</width><height>100</height></size>"
    box = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>90</xmax><ymax>40</ymax></bndbox>"
    word = f"<object><name>text</name>{box}</object>"
    file = tmp_path / "data/x.xml"
    file.write_text(f"<annotation><filename>x.jpg</filename>{size}{word}</annotation>", "utf-8")
    convert(data_root=tmp_path / "data", output=tmp_path / "o.json", data_format="pascal_voc")
    told = capsys.readouterr().err
    assert "1 stored-frame, the first: x.jpg: its labels are of the image as stored" in told
    assert "bad-size" not in told
    (one,) = read(tmp_path / "o.json")["images"]["x.jpg"]["words"].values()
    assert sorted(one["points"]) == [[60, 10], [60, 90], [80, 10], [80, 90]]


def test_what_the_new_format_has_no_place_for_is_told(
    make_dataset: Callable, tmp_path: Path, capsys
) -> None:
    root = make_dataset(tmp_path / "data", split="train", pages=1)
    assert convert(data_root=root, output=tmp_path / "out", to="icdar", copy_images=True) == 0
    told = capsys.readouterr().err
    assert "without a place in icdar, so left out: 4 x language, 4 x orientation" in told
    assert (tmp_path / "out/images/train/train_000.jpg").is_file()
    assert (tmp_path / "out/images/train/gt_train_000.txt").is_file()


def test_predictions_count_in_the_place_of_labels(
    make_dataset: Callable, tmp_path: Path, capsys
) -> None:
    root = make_dataset(tmp_path / "data", split="val", pages=2)
    found = {
        "val_000.jpg": {
            "img_w": 160,
            "img_h": 128,
            "words": {"0001": {"points": BOX, "score": 0.9}},
        }
    }
    (tmp_path / "pred.json").write_text(json.dumps({"images": found}), "utf-8")
    pred, output = tmp_path / "pred.json", tmp_path / "o.json"
    assert convert(data_root=root, predictions=pred, output=output) == 0
    images = read(output)["images"]
    assert list(images) == ["images/val/val_000.jpg"]
    (word,) = images["images/val/val_000.jpg"]["words"].values()
    assert word == {"points": BOX, "transcription": "", "ignore": False}
    assert "1 no-annotation, the first: val_001.jpg: " in capsys.readouterr().err
    before = pred.read_text("utf-8")
    with pytest.raises(
        InputError, match=r"output: .*pred\.json is among the labels that are there"
    ):
        convert(data_root=root, predictions=pred, output=pred)
    assert pred.read_text("utf-8") == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"data\.root: is required"),
        ({"data.root": "none"}, "none: no such dataset folder"),
        ({"data.root": "data", "output": "o.txt"}, r"output: native is one file that ends in"),
        ({"data.root": "data"}, "data: no page with words that can be used; nothing is written"),
        ({"data.root": "data", "predictions": "p.json"}, "p.json: .*No such file"),
    ],
)
def test_what_cannot_be_converted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("data/x.png"))
    with pytest.raises(InputError, match=message):
        main(build(ConvertSettings, {"output": "o.json"} | values))
    assert not Path("o.json").exists()


@pytest.mark.slow
def test_from_a_folder_of_labelme_to_a_detector_and_its_boxes_in_labelme(
    run_module: Callable, drawn_root: Path, learnt_settings: dict, tmp_path: Path
) -> None:
    receipts = tmp_path / "receipts"
    convert(data_root=drawn_root, output=receipts, to="labelme", copy_images=True)
    shutil.move(receipts / "images", tmp_path / "flat")
    small = learnt_settings | {"train.threads": 1, "train.device": "cpu"}
    steps = [
        (
            "train",
            f"data.root={tmp_path}/flat",
            f"output={tmp_path}/run",
            *(f"{k}={v}" for k, v in small.items()),
        ),
        (
            "predict",
            f"checkpoint={tmp_path}/run",
            f"images={tmp_path}/flat/val",
            f"output={tmp_path}/pred.json",
        ),
        (
            "convert",
            f"data.root={tmp_path}/flat/val",
            f"predictions={tmp_path}/pred.json",
            f"output={tmp_path}/corrections",
            "to=labelme",
            "copy_images=true",
        ),
    ]
    for name, *arguments in steps:
        done = run_module(f"detector.{name}", *arguments)
        assert done.returncode == 0, done.stderr
    convert(data_root=tmp_path / "corrections", output=tmp_path / "again.json")
    found, again = read(tmp_path / "pred.json")["images"], read(tmp_path / "again.json")["images"]
    assert found.keys() == again.keys() == {"val_000.jpg", "val_001.jpg"}
    for name, page in found.items():
        assert page["words"]
        points = [word["points"] for word in page["words"].values()]
        assert [word["points"] for word in again[name]["words"].values()] == points
