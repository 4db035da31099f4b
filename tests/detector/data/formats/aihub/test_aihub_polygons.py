from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_files import JSON, damaged, label_file, pages_of, points_of, survives, told

from detector.data.formats.aihub import aihub_polygons
from detector.data.labels.formats import claimants
from detector.data.raw.labelled import Labelled

TURNED = [[1.5, 2], [30, 4.25], [29, 12], [1, 10]]


def word(text: Any = "계좌", points: Any = TURNED) -> dict[str, Any]:
    return {"id": 0, "text": text, "type": 1, "points": points}


def whole(*groups: Any) -> dict[str, Any]:
    return {
        "Identifier": "F-1",
        "images": [{"width": 100, "height": 50, "document_name": "개설"}],
        "annotations": [{"polygons": group} for group in groups],
    }


def page(root: Path, content: Any) -> Labelled:
    file = label_file(root, "labels/fin_1.json", content)
    assert claimants(file) == {"aihub_polygons"}
    (found,) = pages_of(aihub_polygons, file)
    return found


def test_points_stay_turned_and_every_group_counts(tmp_path: Path) -> None:
    written = [[str(x), f" {y} "] for x, y in TURNED]
    found = page(tmp_path, whole([word('"새", 것'), word("")], [word("b", written)]))
    assert points_of(found) == [TURNED] * 3
    assert told(found) == [('"새", 것', False), ("", False), ("b", False)]
    assert (found.image, found.size) == ("fin_1", (100, 50))


def test_what_is_optional_may_be_missing(tmp_path: Path) -> None:
    content = whole([{"points": TURNED}]) | {"images": [{}]}
    found = page(tmp_path, content)
    assert (found.size, told(found)) == (None, [(None, False)])


@pytest.mark.parametrize("groups", [(), ([],)])
def test_a_page_without_words(tmp_path: Path, groups: tuple[Any, ...]) -> None:
    assert page(tmp_path, whole(*groups)).words == {}


def test_words_that_are_none_are_told_with_the_others(tmp_path: Path) -> None:
    content = whole([word(), "a", word(points=None), word(points=[[1, 2], ["b", 3]])])
    content["annotations"].append(7)
    assert points_of(page(tmp_path, content)) == [TURNED, None, None, [[1, 2], ["b", 3]], None]


@pytest.mark.parametrize("content", [7, {}, whole() | {"Identifier": 1, "images": []}, whole({})])
def test_other_files_are_not_claimed(tmp_path: Path, content: Any) -> None:
    assert not aihub_polygons.claims(label_file(tmp_path, "a.json", content))


@examples(100)
@given(JSON | damaged(whole([word(), word()], [word()])))
def test_any_json_ends_in_pages_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    survives(aihub_polygons, label_file(tmp_path_factory.getbasetemp(), "pol.json", content))
