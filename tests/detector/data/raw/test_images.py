from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from detector.data.raw.images import Images


def found(images: list[str], reference: str, label: str) -> list[str]:
    return [
        str(p) for p in Images(map(PurePosixPath, images)).find(reference, PurePosixPath(label))
    ]


def test_words_in_the_names_of_folders_tell_images_of_one_name_apart() -> None:
    images = ["ch4_training_images/img_1.jpg", "ch4_test_images/img_1.jpg"]
    training = "ch4_training_localization_transcription_gt/gt_img_1.txt"
    assert found(images, "img_1", training) == images[:1]
    assert found(images, "img_1", "Challenge4_Test_Task1_GT/gt_img_1.txt") == images[1:]
    assert found(images, "img_1", "gt/gt_img_1.txt") == images


def test_the_same_folder_counts_more_than_a_word_of_its_name() -> None:
    images = ["images/train_a/1.jpg", "images/train_b/1.jpg"]
    assert found(images, "1", "labels/train_b/1.txt") == images[1:]


def test_a_name_with_capitals_after_its_last_dot_is_all_stem() -> None:
    assert found(["IMG.V2.JPG"], "IMG.V2", "IMG.V2.txt") == ["IMG.V2.JPG"]


@pytest.mark.parametrize(
    ("reference", "names"),
    [("scans/a.tif", ["in/a.png"]), ("a.BMP", ["in/a.png"]), ("a.v2", []), ("b.v2", ["b.v2.jpg"])],
)
def test_an_image_that_was_converted_is_found_by_its_stem(reference: str, names: list[str]) -> None:
    images = Images(map(PurePosixPath, ("in/a.png", "b.v2.jpg")))
    assert list(map(str, images.find(reference, PurePosixPath("labels/x.xml")))) == names


@pytest.mark.parametrize(
    ("reference", "label", "name"),
    [
        ("x", "x.txt", "x.png"),
        ("x", "a/x.txt", "a/x.png"),
        ("/home/one/receipts/x.png", "labels.json", "x.png"),
        ("../receipts/a/x.png", "labels.json", "a/x.png"),
    ],
)
def test_of_one_name_that_counts_which_lies_beside_the_label_or_ends_the_path(
    reference: str, label: str, name: str
) -> None:
    assert found(["a/x.png", "x.png"], reference, label) == [name]


def test_a_name_alone_does_not_tell_in_which_folder_its_image_is() -> None:
    assert found(["a/x.png", "x.png"], "x.png", "labels/all.json") == ["x.png"]
    assert found(["a/x.png", "b/x.png"], "x.png", "labels/all.json") == ["a/x.png", "b/x.png"]
