from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from detector.config.answer import collected
from detector.config.cli import build, guarded
from detector.core.errors import InputError
from detector.data.labels.annotations import read_split
from detector.data.labels.pages import Split, fault
from detector.inspect import InspectConfig, main
from detector.review.report import faults_csv

Make = Callable[..., Path]


def inspect(root: Path, **values: object) -> int:
    return main(build(InspectConfig, {"data.root": root, **values}))


def spoil(root: Path) -> None:
    """Cut one image, and take a corner from a word of the other page."""
    image = root / "images/train/train_000.jpg"
    image.write_bytes(image.read_bytes()[:-400])
    path = root / "jsons/train.json"
    content = json.loads(path.read_text())
    content["images"]["train_001.jpg"]["words"]["0002"]["points"].pop()
    path.write_text(json.dumps(content))


def test_clean_dataset(
    tmp_path: Path, make_dataset: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(make_dataset(tmp_path), split="val", pages=1, words=3)
    assert inspect(tmp_path, strict=True) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "train: 0 faults" in lines
    assert "val: 0 faults" in lines
    assert [line.split()[1] for line in lines if line.split()[:1] == ["words"]] == ["8", "3"]


def test_faults_by_file_and_word(
    tmp_path: Path, make_dataset: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(make_dataset(tmp_path))
    with collected() as answer:
        assert inspect(tmp_path) == 0
    faults = answer["splits"]["train"]["faults"]
    assert [fault["kind"] for fault in faults] == ["truncated-image", "few-points"]
    assert answer["splits"]["train"]["statistics"]["pages"] == 1
    capsys.readouterr()
    assert inspect(tmp_path, strict=True) == 1
    out = capsys.readouterr().out
    assert "train: 2 faults" in out
    assert "  train_000.jpg  -  truncated-image  " in out
    assert "  train_001.jpg  0002  few-points  an outline needs at least 4 points, got 3" in out
    assert "1  few-points (word kept as don't-care)" in out


def test_output_files(tmp_path: Path, make_dataset: Make) -> None:
    root = make_dataset(tmp_path / "data")
    spoil(root)
    inspect(root, output=tmp_path / "out", **{"data.longest_side_px": 320})
    with (tmp_path / "out/faults.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["split"], r["file"], r["word"], r["kind"]) for r in rows] == [
        ("train", "train_000.jpg", "", "truncated-image"),
        ("train", "train_001.jpg", "0002", "few-points"),
    ]
    stats = json.loads((tmp_path / "out/stats.json").read_text(encoding="utf-8"))["train"]
    assert (stats["pages"], stats["words"], stats["dont_care"]) == (1, 4, 1)
    source, scaled = stats["word_height_source_px"], stats["word_height_at_320_px"]
    assert scaled["p50"] == pytest.approx(2 * source["p50"])


def test_spreadsheets_run_nothing() -> None:
    names = ["=1+1", "+a", "-a", "@a", "\ta", "\udc80.jpg"]
    faults = tuple(fault(name, None, "no-image", "x, y") for name in names)
    rows = list(csv.reader(faults_csv([Split("t", (), faults)]).splitlines()))
    assert [row[1] for row in rows[1:]] == ["'=1+1", "'+a", "'-a", "'@a", "'\ta", "\udc80.jpg"]


def test_odd_names_reach_neither_terminal_nor_file_raw(
    tmp_path: Path, make_dataset: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_dataset(tmp_path / "data")
    path = root / "jsons/train.json"
    content = json.loads(path.read_text())
    content["images"]["\x1b[31m\udc80.jpg"] = {}
    path.write_text(json.dumps(content))
    assert inspect(root, output=tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b[31m\\udc80.jpg" in out
    assert "\\udc80.jpg" in (tmp_path / "out/faults.csv").read_text(encoding="utf-8")


def test_unlabelled_split_is_said_to_be_so(
    tmp_path: Path, make_dataset: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_dataset(tmp_path, split="test")
    for prepare in (
        lambda: (root / "jsons/test.json").write_text('{"images": {"test_000.jpg": {}}}'),
        lambda: (root / "jsons/test.json").unlink(),
    ):
        prepare()
        assert inspect(root, strict=True) == 0
        out = capsys.readouterr().out
        assert "test: no page has words; it can be predicted but not trained on" in out
        assert "test: 0 faults" in out


def doubtful(root: Path) -> None:
    """A copy of a word under a new id, and corners of another exchanged, on the first page."""
    path = root / "jsons/train.json"
    content = json.loads(path.read_text())
    words = content["images"]["train_000.jpg"]["words"]
    points = words["0001"]["points"]
    words["0005"] = {"points": [[x + 0.5, y] for x, y in points], "transcription": "copy"}
    words["0002"]["points"][:2] = reversed(words["0002"]["points"][:2])
    path.write_text(json.dumps(content))


def test_suspicious_words_are_listed_and_the_list_can_be_given_back(
    tmp_path: Path, make_dataset: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = make_dataset(tmp_path / "data"), tmp_path / "out"
    doubtful(root)
    assert inspect(root, output=out) == 0
    printed = capsys.readouterr().out
    assert "train: 2 suspicious words" in printed
    assert "1  swapped-vertices (corners out of order)" in printed
    listed = json.loads((out / "suspicious.json").read_text())["images"]
    kinds = {word: values["kind"] for word, values in listed["train_000.jpg"].items()}
    assert kinds == {"0002": "swapped-vertices", "0005": "duplicate"}
    for name in ("suspicious.png", "statistics.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 100

    assert inspect(root, **{"data.exclude": out / "suspicious.json"}) == 0
    printed = capsys.readouterr().out
    assert "train: 0 suspicious words" in printed
    assert "1  excluded-by-list (word excluded)" in printed
    page = read_split(root, "train", exclude=out / "suspicious.json").pages[0]
    assert [(w.id, w.ignore) for w in page.words][:2] == [("0001", False), ("0002", True)]


def test_a_reviewed_list_is_never_overwritten(
    tmp_path: Path, make_dataset: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = make_dataset(tmp_path / "data"), tmp_path / "out"
    doubtful(root)
    for _ in range(2):
        assert inspect(root, output=out) == 0
        assert "is kept" not in capsys.readouterr().out
    fresh = (out / "suspicious.json").read_text()
    (out / "suspicious.json").write_text('{"images": {}}')
    assert inspect(root, output=out) == 0
    assert "suspicious.json is kept, since it may be reviewed" in capsys.readouterr().out
    assert (out / "suspicious.json").read_text() == '{"images": {}}'
    assert (out / "new_suspicious.json").read_text() == fresh


def test_pages_of_two_splits_with_one_name(tmp_path: Path, make_dataset: Make) -> None:
    root = make_dataset(make_dataset(tmp_path / "data"), split="val", pages=1)
    doubtful(root)
    (root / "images/val/val_000.jpg").rename(root / "images/val/train_000.jpg")
    labels = root / "jsons/val.json"
    labels.write_text(labels.read_text().replace("val_000", "train_000"))
    inspect(root, output=tmp_path / "out")
    listed = json.loads((tmp_path / "out/suspicious.json").read_text())["images"]
    assert list(listed) == ["train/train_000.jpg"]


def test_what_is_left_out_and_pages_behind_the_first_are_said(
    tmp_path: Path, make_dataset: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_dataset(tmp_path / "data")
    (root / "images/train/메모.txt").touch()
    page = Image.new("RGB", (300, 200))
    page.save(root / "images/train/scan.tif", save_all=True, append_images=[page])
    labels = json.loads((root / "jsons/train.json").read_text())
    for words in labels["images"].values():
        for one in words["words"].values():
            one["transcription"] = "*"
    labels["images"]["scan.tif"] = {"img_w": 300, "img_h": 200, "words": {}}
    (root / "jsons/train.json").write_text(json.dumps(labels))
    assert inspect(root) == 0
    told = capsys.readouterr().out
    assert "train: 1 files left out, which are no images of a kind that is read: 메모.txt" in told
    assert "train: 1 files with several pages each, of which the first counts: scan.tif" in told
    assert re.search(r"train: (\d+) of \1 texts that count are \*, .*set 'data\.dont_care=\[", told)


def test_bad_input(tmp_path: Path, make_dataset: Make) -> None:
    with pytest.raises(InputError, match=r"data\.root: is required"):
        main(InspectConfig())
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match=r"holds no image .*, nor folders such as images/train"):
        inspect(tmp_path)
    make_dataset(tmp_path)
    with pytest.raises(InputError, match="has no split 'vel'; splits that exist: train"):
        inspect(tmp_path, **{"data.split": "vel"})
    with pytest.raises(InputError, match=r"output: .*train\.json is a file; give a folder"):
        inspect(tmp_path, output=tmp_path / "jsons/train.json")
    (tmp_path / "jsons/train.json").write_text("{")
    assert guarded(lambda: inspect(tmp_path)) == 2


def test_unlabelled_pages_are_ranked_and_begun_for_the_labeller(
    trained: Path, make_dataset: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = make_dataset(tmp_path / "data", pages=3) / "images" / "train"
    (pages / "notes.txt").write_text("no image")
    output = tmp_path / "next"
    given = {"images": pages, "checkpoint": trained, "count": 2, "output": output}
    with collected() as answer:
        assert main(build(InspectConfig, given)) == 0
    out, err = capsys.readouterr()
    assert "2 of 3 pages to label next" in err  # all but JSON is there
    assert "1 left out, which are no images: notes.txt" in err
    names = [choice["name"] for choice in answer["next"]]
    with (output / "next_pages.csv").open(newline="") as file:
        assert [row["page"] for row in csv.DictReader(file)] == names
    boxes = json.loads((output / "next_pages.json").read_text())["images"]
    assert sorted(boxes) == sorted(names)
    assert {(page["img_w"], page["img_h"]) for page in boxes.values()} == {
        Image.open(pages / name).size for name in names
    }
    assert out == ""


@pytest.mark.parametrize("changes", [{"checkpoint": None}, {"data.root": "somewhere"}])
def test_pages_to_label_next_need_a_model_and_no_labels(
    changes: dict[str, object], trained: Path, tmp_path: Path
) -> None:
    given = {"images": tmp_path, "checkpoint": trained} | changes
    with pytest.raises(InputError, match=r"images: .* give checkpoint=FOLDER, and the unlabelled"):
        main(build(InspectConfig, given))
