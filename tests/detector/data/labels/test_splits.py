from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from detector.core.errors import InputError
from detector.data.labels.layout import Layout, dealt
from detector.data.labels.splits import dealt_from, files_of_split, names_of, splits_of
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
