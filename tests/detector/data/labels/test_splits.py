from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.core.errors import InputError
from detector.data.labels.layout import Layout, dealt
from detector.data.labels.pages import Page, Split
from detector.data.labels.splits import (
    dealt_from,
    files_of_split,
    named_part,
    names_of,
    part_of,
    splits_of,
)
from detector.data.raw.label_file import LabelFile

ROOT = Path("data")


def paths(*names: str) -> tuple[PurePosixPath, ...]:
    return tuple(map(PurePosixPath, names))


def label(name: str) -> LabelFile:
    return LabelFile(ROOT / name, PurePosixPath(name))


def test_folders_tell_the_split_of_an_image_whatever_its_labels_say() -> None:
    images = paths("images/train/a.png", "images/val/train/b.png")
    layout = Layout(ROOT, images, images, ("train", "val"))
    splits = splits_of(layout, {images[0]: label("labels/val/a.txt")})
    assert splits == {images[0]: "train", images[1]: "val"}
    assert names_of(layout, splits) == {"train": {"a.png"}, "val": {"train/b.png"}}


def test_without_folders_words_tell_those_of_the_image_first() -> None:
    images = paths("x_test/a.png", "b.png", "c.png")
    layout = Layout(ROOT, images, images)
    labels = {images[0]: label("train/a.txt"), images[1]: label("gt_val/b.txt")}
    expected = {images[0]: "test", images[1]: "val", images[2]: "train"}
    assert splits_of(layout, labels) == expected


def test_label_files_that_name_a_split_mean_its_images_and_others_all() -> None:
    images = paths("images/train/a.png", "images/val/b.png")
    layout = Layout(ROOT, images, images, ("train", "val"))
    own, general = label("instances_train2017.json"), label("all.json")
    assert files_of_split(layout, [own, general], "train") == ([own], images[:1])
    assert files_of_split(layout, [own, general], "val") == ([general], images)
    with pytest.raises(InputError, match="images: has no split 'test'; splits that exist: train"):
        files_of_split(layout, [own], "test")


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_a_share_of_the_training_pages_is_dealt_by_the_hash_of_their_names(count: int) -> None:
    images = paths(*(f"images/train/{i}.png" for i in range(count)))
    layout = Layout(ROOT, images, images, ("train",))
    found = dealt_from(layout, images)
    shares = dealt({f"{i}.png": None for i in range(count)})
    expected = [image for image in images if shares[image.name] == "val"]
    assert found == (expected if count > 1 else [*images])
    assert found


def split_of(pages: int) -> Split:
    names = [f"{i:04d}.png" for i in range(pages)]
    return Split("train", tuple(Page(name, ROOT / name, 10, 10, ()) for name in names), ())


def test_a_name_says_which_part_of_which_split() -> None:
    assert named_part("train@2/5") == ("train", (2, 5))
    assert named_part("of@home@10/12") == ("of@home", (10, 12))
    for whole in ("train", "a@b", "train@2", "@1/2"):
        assert named_part(whole) == (whole, None)


@pytest.mark.parametrize("name", ["train@0/5", "train@6/5", "train@0/0"])
def test_a_part_that_there_is_not_is_refused_with_one_that_there_is(name: str) -> None:
    with pytest.raises(InputError, match=r"from 1 to as many .*, such as train@1/\d, got"):
        named_part(name)


@given(pages=st.integers(1, 400), parts=st.integers(1, 12))
def test_parts_have_all_pages_once_in_a_few_blocks_of_neighbours(pages: int, parts: int) -> None:
    split = split_of(pages)
    if pages < parts:
        with pytest.raises(InputError, match=f"{pages} usable pages make no {parts} parts"):
            part_of(split, "x", 1, parts)
        return
    found = [part_of(split, f"train@{i}/{parts}", i, parts) for i in range(1, parts + 1)]
    names = [[page.name for page in part.pages] for part in found]
    assert sorted(name for own in names for name in own) == [page.name for page in split.pages]
    sizes = [len(own) for own in names]
    assert max(sizes) - min(sizes) <= 3
    for own in names:
        steps = np.diff([int(name[:4]) for name in own])
        assert (steps > 1).sum() <= 2  # three blocks at most
    assert found[0].name == f"train@1/{parts}"


def test_the_fifths_of_forty_eight_pages() -> None:
    # 8 pages a block would be 48 / (8 * 5): one block each, of 9 or 10 pages.
    parts = [part_of(split_of(48), "x", i, 5) for i in range(1, 6)]
    assert [int(part.pages[0].name[:4]) for part in parts] == [0, 10, 20, 29, 39]
    assert [len(part.pages) for part in parts] == [10, 10, 9, 10, 9]
