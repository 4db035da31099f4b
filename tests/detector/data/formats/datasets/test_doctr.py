from __future__ import annotations

from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_values import assert_told, claimed_by, pages_of, spoiled, told

from detector.core.errors import InputError
from detector.data.formats.datasets import doctr

BOX = [[1, 2], [9, 2], [9, 6], [1, 6]]
ACROSS = [[1, 2], [9, 2], [1, 6], [9, 6]]
LABELS = {
    "a.png": {"img_dimensions": [30, 40], "img_hash": "00", "polygons": [BOX, ACROSS]},
    "sub/b.png": {"img_dimensions": [30, 40], "polygons": {"words": [BOX], "dates": [BOX]}},
    "c.png": {"polygons": []},
}


def test_polygons_in_a_list_or_by_class() -> None:
    first, second, third = pages_of(doctr, "train/labels.json", LABELS)
    assert [page.image for page in (first, second, third)] == [
        "images/a.png",
        "images/sub/b.png",
        "images/c.png",
    ]
    assert told(first)[0] == (BOX, None, False)
    assert told(second) == [(BOX, None, False)] * 2
    assert third.words == {}
    assert third.labelled
    assert first.size is None


def test_corners_across_are_put_in_order() -> None:
    ((points, _, _),) = told(pages_of(doctr, "labels.json", {"a.png": {"polygons": [ACROSS]}})[0])
    start = points.index([1, 2])
    around = points[start:] + points[:start]
    assert around in (BOX, [BOX[0], *reversed(BOX[1:])])


@pytest.mark.parametrize(
    "polygon", [[[0, 0], [4, 0], [1, 1], [0, 4]], [*BOX, [0, 4]], [[0, 0], [1, 1], [2, 2], [3, 3]]]
)
def test_other_outlines_keep_their_order(polygon: Any) -> None:
    (page,) = pages_of(doctr, "labels.json", {"a.png": {"polygons": [polygon]}})
    assert told(page) == [(polygon, None, False)]


def test_what_is_no_page_is_told() -> None:
    bad, unlabelled, odd = pages_of(
        doctr, "labels.json", {"a.png": 3, "b.png": {"img_hash": ""}, "c.png": {"polygons": "x"}}
    )
    assert bad.faults[0][1] == "bad-page"
    assert not unlabelled.labelled
    assert told(odd) == [("x", None, False)]


def test_claims() -> None:
    assert claimed_by("labels.json", LABELS) == {"doctr"}
    assert claimed_by("labels.json", {"a.png": "text"}) == set()
    assert claimed_by("labels.json", {"a.png": {"regions": []}}) == set()
    assert claimed_by("labels.json", [{"polygons": []}]) == set()


def test_a_file_of_another_shape_is_told() -> None:
    with pytest.raises(InputError, match=r"labels\.json: must be an object of images"):
        pages_of(doctr, "labels.json", [])


@given(spoiled(LABELS))
@examples(100)
def test_wrong_values_anywhere_are_told(content: Any) -> None:
    assert_told(doctr, "labels.json", content)
