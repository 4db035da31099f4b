from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detector.core.errors import InputError
from detector.data.labels.annotations import Split, read_split, scan_split
from detector.data.labels.exclusion import DROPPED, REASONS, Suspicion, list_of

Make = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, make_dataset: Make) -> Path:
    """Two training pages and a validation page of four words each."""
    make_dataset(tmp_path / "data")
    return make_dataset(tmp_path / "data", split="val", pages=1)


def written(root: Path, images: dict[str, Any]) -> Path:
    path = root / "list.json"
    path.write_text(json.dumps({"images": images}), encoding="utf-8")
    return path


def words(split: Split) -> dict[str, list[tuple[str, bool]]]:
    return {page.name: [(w.id, w.ignore) for w in page.words] for page in split.pages}


def test_empty_boxes_are_dropped_and_all_others_become_dont_care(root: Path) -> None:
    listed = written(
        root,
        {
            "train_000.jpg": {
                "0001": {"kind": "blank", "score": 0.9, "reason": "no ink"},
                "0002": {"kind": "watermark"},
            },
            "train_001.jpg": {"0004": {"kind": "duplicate"}},
        },
    )
    split = read_split(root, "train", exclude=listed)
    assert words(split) == {
        "train_000.jpg": [("0002", True), ("0003", False), ("0004", False)],
        "train_001.jpg": [("0001", False), ("0002", False), ("0003", False)],
    }
    assert [(f.file, f.word, f.kind) for f in split.faults] == [
        ("train_000.jpg", "0001", "excluded-by-list"),
        ("train_000.jpg", "0002", "ignored-by-list"),
        ("train_001.jpg", "0004", "excluded-by-list"),
    ]
    assert split.faults[1].message == "watermark, by list.json; word kept as don't-care"


@pytest.mark.parametrize("kind", sorted(REASONS))
def test_every_kind_has_one_consequence(root: Path, kind: str) -> None:
    listed = written(root, {"train_000.jpg": {"0001": {"kind": kind}}})
    first = words(read_split(root, "train", exclude=listed))["train_000.jpg"][0]
    assert first == (("0002", False) if kind in DROPPED else ("0001", True))


def test_without_a_list_and_with_an_empty_one_nothing_changes(root: Path) -> None:
    plain = read_split(root, "train")
    emptied = read_split(root, "train", exclude=written(root, {}))
    assert words(emptied) == words(plain)
    assert emptied.faults == plain.faults == ()


def test_a_page_emptied_by_the_list_is_a_page_without_text(root: Path) -> None:
    listed = written(root, {"val_000.jpg": {f"000{i}": {"kind": "blank"} for i in range(1, 5)}})
    assert words(read_split(root, "val", exclude=listed)) == {"val_000.jpg": []}


def test_one_list_serves_all_splits(root: Path) -> None:
    listed = written(
        root,
        {"train_000.jpg": {"0001": {"kind": "tiny"}}, "val_000.jpg": {"0002": {"kind": "tiny"}}},
    )
    for split, ignored in (("train", "0001"), ("val", "0002")):
        pages = read_split(root, split, exclude=listed).pages
        assert [w.id for page in pages for w in page.words if w.ignore] == [ignored]


def test_a_name_in_two_splits_is_told_apart(root: Path) -> None:
    content = (root / "jsons/val.json").read_text().replace("val_000.jpg", "train_000.jpg")
    (root / "jsons/val.json").write_text(content)
    (root / "images/val/val_000.jpg").rename(root / "images/val/train_000.jpg")
    doubts = {
        split: [Suspicion("train_000.jpg", name, "tiny", 0.7, "thin")]
        for split, name in (("train", "0001"), ("val", "0002"))
    }
    images = list_of(doubts, {"train_000.jpg"})["images"]
    assert list(images) == ["train/train_000.jpg", "val/train_000.jpg"]
    listed = written(root, images)
    for split, name in (("train", "0001"), ("val", "0002")):
        page = read_split(root, split, exclude=listed).pages[0]
        assert [w.id for w in page.words if w.ignore] == [name]


def test_what_inspect_writes_is_what_training_reads(root: Path) -> None:
    doubts = {"train": [Suspicion("train_000.jpg", "0003", "blank", 0.9, "no ink")], "val": []}
    content = list_of(doubts)
    assert content == {
        "images": {"train_000.jpg": {"0003": {"kind": "blank", "score": 0.9, "reason": "no ink"}}}
    }
    split = read_split(root, "train", exclude=written(root, content["images"]))
    assert [f.word for f in split.faults] == ["0003"]


def test_listed_words_with_points_are_added_as_dont_care(root: Path) -> None:
    points = ((1.0, 2.0), (9.0, 2.0), (9.0, 8.0), (1.0, 8.0))
    doubt = Suspicion("train_000.jpg", "new-1", "model-disagrees", 0.8, "detected", points)
    images = list_of({"train": [doubt]})["images"]
    split = read_split(root, "train", exclude=written(root, images))
    added = split.pages[0].words[-1]
    assert (added.id, added.ignore, len(split.pages[0].words)) == ("new-1", True, 5)
    assert added.points.tolist() == [list(point) for point in points]
    assert [f.kind for f in split.faults] == ["added-by-list"]


@pytest.mark.parametrize(
    "points", [None, 3, [[0, 0], [1, 0], [1, 1]], [[0, 0]] * 4, [["a", 0]] * 4]
)
def test_points_of_no_area(root: Path, points: Any) -> None:
    listed = written(root, {"train_000.jpg": {"new": {"kind": "other", "points": points}}})
    with pytest.raises(InputError, match=r"train_000\.jpg, word new: points must be four or more"):
        read_split(root, "train", exclude=listed)


def test_unknown_pages_and_words_are_named_together(root: Path) -> None:
    tiny = {"kind": "tiny"}
    listed = written(
        root,
        {
            "train_000.jpg": {"0001": tiny, "0009": tiny},
            "gone.jpg": {"0001": tiny},
            "train/gone.jpg": {"0001": tiny},
            "val/gone.jpg": {"0001": tiny},
        },
    )
    with pytest.raises(InputError) as error:
        scan_split(root, "train", exclude=listed)
    named = "names 3 pages or words that the dataset does not have: "
    assert named + "train_000.jpg word 0009, gone.jpg, train/gone.jpg; " in str(error.value)


def test_a_word_left_out_already_is_not_unknown(root: Path) -> None:
    path = root / "jsons/train.json"
    content = json.loads(path.read_text())
    del content["images"]["train_000.jpg"]["words"]["0001"]["points"][1:]
    path.write_text(json.dumps(content))
    listed = written(root, {"train_000.jpg": {"0001": {"kind": "tiny"}}})
    assert [f.kind for f in read_split(root, "train", exclude=listed).faults] == ["no-place"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", 'must be an object {"images"'),
        ('{"images": {"train_000.jpg": ["0001"]}}', 'must be an object {"images"'),
        (
            '{"images": {"train_000.jpg": {"0001": {"kind": "ugly"}}}}',
            "train_000.jpg, word 0001: kind must be one of blank, duplicate, .*got 'ugly'",
        ),
        ('{"images": {"train_000.jpg": {"0001": {}}}}', "got None"),
        ('{"images": {"train_000.jpg": {"0001": {"kind": ["tiny"]}}}}', "got .'tiny'."),
    ],
)
def test_unusable_lists(root: Path, text: str, message: str) -> None:
    path = root / "list.json"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"list\.json: .*{message}|list\.json: {message}"):
        read_split(root, "train", exclude=path)


def test_missing_list(root: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read: No such file.*check data\.exclude"):
        read_split(root, "train", exclude=root / "nowhere.json")
