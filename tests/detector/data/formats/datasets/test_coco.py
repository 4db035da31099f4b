from __future__ import annotations

from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_values import assert_told, claimed_by, pages_of, spoiled, told

from detector.core.errors import InputError
from detector.data.formats.datasets import coco

FLAT = [1, 2, 9, 2, 9, 6, 1, 6]
BOX = [[1, 2], [9, 2], [9, 6], [1, 6]]
OTHER = [[10, 2], [14, 2], [14, 6], [10, 6]]


def dataset(*annotations: Any, images: Any = None) -> dict[str, Any]:
    """One image and its annotations, which need not say which image they are of."""
    image = {"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}
    return {
        "images": [image] if images is None else images,
        "annotations": [{"image_id": 7} | a if isinstance(a, dict) else a for a in annotations],
        "categories": [{"id": 1, "name": "text"}],
    }


def words(*annotations: Any) -> list[tuple[Any, Any, bool]]:
    (page,) = pages_of(coco, "instances.json", dataset(*annotations))
    return told(page)


@pytest.mark.parametrize(
    "segmentation",
    [
        [FLAT],
        FLAT,
        BOX,
        [BOX],
        [FLAT, []],
        [list(map(str, FLAT))],
        [],
        [[]],
        None,
        {"size": [10, 20], "counts": [20, 0, 180]},
    ],
)
def test_outlines_however_they_are_written(segmentation: Any) -> None:
    annotation = {"segmentation": segmentation, "bbox": ["1", 2, 8.0, 4]}
    assert words(annotation) == [(BOX, None, False)]


def test_a_box_alone() -> None:
    assert words({"bbox": [1, 2, 8, 4]}) == [(BOX, None, False)]


def test_several_polygons_are_one_word() -> None:
    ((points, _, _),) = words({"segmentation": [FLAT, [10, 2, 14, 2, 14, 6, 10, 6]]})
    assert {tuple(point) for point in points} == {(1, 2), (14, 2), (14, 6), (1, 6)}


def test_a_mask_and_a_crowd() -> None:
    # Columns of ten: 12 is column 1, row 2; four rows in each of eight columns.
    counts = [12, *[4, 6] * 7, 4, 114]
    assert sum(counts) == 10 * 20
    mask = {"size": [10, 20], "counts": counts}
    ((points, text, ignore),) = words({"segmentation": mask, "iscrowd": 1, "bbox": [0, 0, 1, 1]})
    assert {tuple(point) for point in points} == {tuple(point) for point in BOX}
    assert (text, ignore) == (None, True)
    ((listed, _, _),) = words({"segmentation": [mask]})
    assert listed == points


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        ({"text": 'a, "b"'}, 'a, "b"'),
        ({"utf8_string": "b"}, "b"),
        ({"caption": "c"}, "c"),
        ({"attributes": {"text": "d"}}, "d"),
        ({"text": "", "attributes": {"text": "d"}}, "d"),
        ({"text": "", "attributes": []}, ""),
        ({"text": None}, None),
    ],
)
def test_texts_of_exports(annotation: Any, text: Any) -> None:
    assert words({"bbox": [1, 2, 8, 4]} | annotation) == [(BOX, text, False)]


@pytest.mark.parametrize(
    ("annotation", "ignore"),
    [
        ({"iscrowd": 0}, False),
        ({"iscrowd": True}, True),
        ({"iscrowd": "1"}, True),
        ({"iscrowd": "0", "ignore": 1}, True),
        ({"attributes": {"ignore": True}}, True),
        ({"iscrowd": 0, "ignore": 0}, False),
        ({"iscrowd": "perhaps"}, "perhaps"),
    ],
)
def test_dont_care(annotation: Any, ignore: Any) -> None:
    assert words({"bbox": [1, 2, 8, 4]} | annotation) == [(BOX, None, ignore)]


def test_images_and_annotations_meet_by_ids_of_either_type() -> None:
    images = [
        {"id": "30", "file_name": "train\\b.jpg", "width": "4", "height": "3"},
        {"id": 2, "file_name": "c.jpg"},
        {"id": 2, "file_name": "c.jpg"},
    ]
    box = {"bbox": [0, 0, 1, 1]}
    content = dataset(
        {"image_id": 30, "text": "1"} | box,
        {"image_id": "9", "text": "2"} | box,
        {"image_id": 30, "text": "3"} | box,
        5,
        images=images,
    )
    pages = pages_of(coco, "instances.json", content)
    texts = [[text for _, text, _ in told(page)] for page in pages]
    assert [page.image for page in pages] == [
        "train/b.jpg",
        "c.jpg",
        "image_id 9",
        "image_id None",
    ]
    assert texts == [["1", "3"], [], ["2"], [None]]
    assert [page.size for page in pages[:2]] == [(4, 3), None]
    assert told(pages[3]) == [(5, None, False)]


def test_an_id_of_two_images_is_told() -> None:
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": "1", "file_name": "b.jpg"}]
    with pytest.raises(InputError, match=r"instances\.json: the id of each image.*a\.jpg.*b\.jpg"):
        pages_of(coco, "instances.json", dataset(images=images))


def test_an_image_without_a_name_is_told() -> None:
    (page,) = pages_of(coco, "instances.json", dataset(images=[3]))
    assert (page.image, page.labelled) == ("images[0]", False)
    assert page.faults[0][1] == "bad-page"


@pytest.mark.parametrize(
    "segmentation", [{"size": [2, 2], "counts": [9]}, "1 2 9 6", [["a", 2, 3, 4, 5, 6]], 5]
)
def test_a_malformed_outline_stays_as_it_is(segmentation: Any) -> None:
    ((points, _, _),) = words({"segmentation": segmentation, "bbox": [1, 2, 8, 4]})
    assert points == (segmentation[0] if isinstance(segmentation, list) else segmentation)


@pytest.mark.parametrize(
    "content",
    [
        dataset(),
        dataset(images=[]),
        {"images": [{"file_name": "a"}], "annotations": [{"segmentation": []}]},
    ],
)
def test_its_files_are_claimed(content: Any) -> None:
    assert claimed_by("a.json", content) == {"coco"}


@pytest.mark.parametrize(
    "content",
    [
        {"images": [{"file_name": "a"}], "annotations": [{"text": "a", "bbox": [1, 2, 3, 4]}]},
        {"images": [{"image.file.name": "a"}], "annotations": [], "categories": []},
        {"images": [], "annotations": []},
        {"images": {}, "annotations": []},
        {"annotations": [], "categories": []},
        [],
    ],
)
def test_others_are_not_claimed(content: Any) -> None:
    assert "coco" not in claimed_by("a.json", content)


@pytest.mark.parametrize("content", [[], {"images": {}}, 3])
def test_a_file_of_another_shape_is_told(content: Any) -> None:
    with pytest.raises(InputError, match=r"a\.json: must be an object with lists"):
        pages_of(coco, "a.json", content)


WHOLE = dataset(
    {"segmentation": [FLAT, FLAT], "bbox": [1, 2, 8, 4], "iscrowd": 0, "text": "a"},
    {"segmentation": {"size": [9, 10], "counts": "61X13mN000`0"}, "attributes": {"text": "b"}},
    {"segmentation": {"size": [4, 5], "counts": [4, 12, 4]}, "iscrowd": 1},
)


@given(spoiled(WHOLE))
@examples(200)
def test_wrong_values_anywhere_are_told(content: Any) -> None:
    assert_told(coco, "a.json", content)
