from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from pdfs import scanned

from detector.core.errors import InputError
from detector.data.labels.layout import dealt, files_below, layout_of, split_word


def files(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("names", "folders", "pages"),
    [
        (["images/train/a.jpg", "images/val/x/b.PNG"], ("train", "val"), ["a.jpg", "x/b.PNG"]),
        (["images/old/a.jpg", "b.jpg"], ("old",), ["a.jpg"]),
        (["images/train/a.jpg", "images/b.jpg"], ("train",), ["a.jpg"]),
        (["images/x/a.jpg", "images/b.jpg"], (), ["images/b.jpg", "images/x/a.jpg"]),
        (["train/a.jpg", "val/b.jpg"], (), ["train/a.jpg", "val/b.jpg"]),
        (["images/train/.a.jpg", "images/train/a.txt"], ("train",), []),
        (["images/a.jpg", "images/.cache/b.jpg"], (), ["images/a.jpg"]),
    ],
)
def test_folders_in_images_are_splits_and_pages_are_called_from_there(
    tmp_path: Path, names: list[str], folders: tuple[str, ...], pages: list[str]
) -> None:
    layout = layout_of(files(tmp_path, names))
    assert layout.folders == folders
    assert [layout.name_of(image) for image in layout.images] == pages


def test_names_are_in_form_c(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "영수증.jpg")
    layout = layout_of(files(tmp_path, [f"images/train/{name}"]))
    (image,) = layout.images
    assert layout.name_of(image) == "영수증.jpg"
    assert (tmp_path / image).is_file()
    assert layout.folder_of(image) == "train"


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such dataset folder; set data\.root"):
        layout_of(tmp_path / "nowhere")
    with pytest.raises(
        InputError, match=r"holds no image \(\.jpg, .*, nor folders such as images/train"
    ):
        layout_of(files(tmp_path, ["a.txt"]))


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    real = files(tmp_path / "real", ["a.jpg", "x/b.jpg"])
    (root := tmp_path / "root").mkdir()
    for split in ("train", "val"):
        (root / split).symlink_to(real)
    (real / "x/up").symlink_to(real)
    assert sorted(map(str, files_below(root))) == [
        *("train/a.jpg", "train/x/b.jpg"),
        *("val/a.jpg", "val/x/b.jpg"),
    ]


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train/a", "train"),
        ("ch4_Training_images", "train"),
        ("instances_train2017", "train"),
        ("dev", "val"),
        ("valid-1/images", "val"),
        ("1.Validation", "val"),
        ("train/test", "test"),
        ("train/val_test", "train"),
        ("trained/trainval/latest", None),
    ],
)
def test_words_in_names_tell_the_split(path: str, split: str | None) -> None:
    assert split_word(PurePosixPath(path).parts) == split


def test_few_pages_are_dealt_so_that_both_splits_have_some() -> None:
    assert dealt({}) == {}
    assert dealt({"a": None}) == {"a": "train"}
    for i in range(50):
        assert sorted(dealt({f"{i}a": None, f"{i}b": None}).values()) == ["train", "val"]


def test_a_fifth_of_many_pages_is_for_validation() -> None:
    counts = Counter(dealt({f"page_{i}.jpg": None for i in range(1000)}).values())
    assert counts.keys() == {"train", "val"}
    # Binomial, of a thousand: 200 with a deviation of 12.6.
    assert 150 <= counts["val"] <= 250


@examples(100)
@given(st.sets(st.text(max_size=4), min_size=20, max_size=60), st.text(min_size=5, max_size=6))
def test_a_page_that_is_added_moves_no_other(names: set[str], added: str) -> None:
    before, after = (dealt(dict.fromkeys(some)) for some in (names, names | {added}))
    if list(before.values()).count("val") > 1:
        assert {name: after[name] for name in names} == before


def test_pages_of_a_pdf_are_dealt_together(tmp_path: Path) -> None:
    for number in range(20):
        scanned(tmp_path / f"{number:02d}.pdf", [(8, 8)] * 11)
    layout = layout_of(tmp_path)
    numbers = [f"00.pdf#page={number}" for number in range(1, 12)]
    assert [str(image) for image in layout.images[:11]] == numbers
    splits = dealt(dict.fromkeys(map(layout.name_of, layout.images)))
    assert len(splits) == 220
    assert len({(name.partition("#")[0], split) for name, split in splits.items()}) == 20
    assert {*splits.values()} == {"train", "val"}


def test_what_is_told_stays() -> None:
    assert dealt({"a": "val", "b": None, "c": "test", "d": "train"}) == {
        **{"a": "val", "b": "train", "c": "test", "d": "train"}
    }
    splits = dealt({"t": "test", **{str(i): "train" for i in range(20)}})
    assert splits["t"] == "test"
    assert {splits[str(i)] for i in range(20)} == {"train", "val"}
