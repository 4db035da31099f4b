from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

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


FOLDER = st.sampled_from(["a", "b", "a_b", "b-c"])
NAME = st.sampled_from(["x.png", "x.jpg", "x.JPG", "y.png"])


def paths(name: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda folders, own: "/".join([*folders, own]), st.lists(FOLDER), name)


def words_of(path: PurePosixPath) -> set[str]:
    """The names of its folders, and the letters that these are made of."""
    return {*path.parts[:-1], *(one for part in path.parts[:-1] for one in part if one.isalpha())}


def likeliest(images: list[str], reference: str, label: str) -> list[str]:
    """Of images of one name those that a reference of several parts may mean: each is weighed."""
    wanted, words = PurePosixPath(reference).parts[:-1], words_of(PurePosixPath(label))

    def weight(image: str) -> tuple[int, int]:
        folders = PurePosixPath(image).parts[:-1]
        counts = range(1, min(len(folders), len(wanted)) + 1)
        same = max((n for n in counts if folders[-n:] == wanted[-n:]), default=0)
        whole = same == len(folders) < len(wanted)
        return same + whole, len(words_of(PurePosixPath(image)) & words)

    most = max(map(weight, images))
    return [image for image in images if weight(image) == most]


@examples(300)
@given(
    st.lists(paths(st.just("x.png")), min_size=2, max_size=12, unique=True),
    st.lists(FOLDER, min_size=1),
    paths(st.just("x.txt")),
)
def test_of_one_name_those_are_found_that_weighing_each_finds(
    images: list[str], folders: list[str], label: str
) -> None:
    reference = "/".join(["/elsewhere", *folders, "x.png"])
    assert found(images, reference, label) == likeliest(images, reference, label)


@examples(300)
@given(st.lists(paths(NAME), min_size=2, max_size=12, unique=True), paths(st.just("l.txt")))
def test_a_name_alone_means_that_beside_its_label_or_those_of_most_words(
    images: list[str], label: str
) -> None:
    place, words = PurePosixPath(label), words_of(PurePosixPath(label))
    same = [one for one in map(PurePosixPath, images) if one.stem == "y"]
    beside = [one for one in same if one.parent == place.parent] or same
    most = max((len(words_of(one) & words) for one in beside), default=0)
    expected = [str(one) for one in beside if len(words_of(one) & words) == most]
    assert found(images, "y.tif", label) == expected
