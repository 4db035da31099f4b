from __future__ import annotations

from pathlib import Path

import pytest
from label_files import label_file, pages_of, points_of, told

from detector.core.errors import InputError
from detector.data.formats.text import yolo_obb
from detector.data.labels.formats import claimants
from detector.data.raw.labelled import Labelled

LINE = "0 0.1 0.2 0.5 0.3 0.45 0.5 0.05 0.4"
CORNERS = [[0.1, 0.2], [0.5, 0.3], [0.45, 0.5], [0.05, 0.4]]


def page(root: Path, content: str) -> Labelled:
    file = label_file(root, "labels/val/gt_a.txt", content)
    assert claimants(file) == {"yolo_obb"}
    (found,) = pages_of(yolo_obb, file)
    return found


def test_four_corners_in_fractions(tmp_path: Path) -> None:
    found = page(tmp_path, f"{LINE}\r\n1 -0.01 0 1.01 0 1.01 1 -0.01 1\n")
    assert points_of(found) == [CORNERS, [[-0.01, 0], [1.01, 0], [1.01, 1], [-0.01, 1]]]
    assert told(found) == [(None, False)] * 2
    assert (found.image, found.others, found.unit) == ("gt_a", ("a",), "fraction")


def test_confidences_of_predictions_are_left_out_and_counted(tmp_path: Path) -> None:
    found = page(tmp_path, f"{LINE} 0.9\n{LINE}\n")
    assert points_of(found) == [CORNERS] * 2
    assert found.left_out == {"confidence": 1}


def test_four_corners_and_boxes_do_not_mix(tmp_path: Path) -> None:
    file = label_file(tmp_path, "a.txt", f"{LINE}\n{LINE}\n0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(InputError, match=r"a\.txt: line 3 has 5 columns, but the file has four"):
        pages_of(yolo_obb, file)


def test_lines_that_are_no_corners_are_told_with_the_others(tmp_path: Path) -> None:
    found = page(tmp_path, f"{LINE}\n{LINE}\n0 .1 .1 .2 .1 .2 .2\nx\n")
    assert points_of(found) == [CORNERS, CORNERS, "0 .1 .1 .2 .1 .2 .2", "x"]


def test_outlines_of_other_lengths_are_not_claimed(tmp_path: Path) -> None:
    line = "0 .1 .1 .2 .1 .3 .2 .3 .3 .2 .3\n"
    assert claimants(label_file(tmp_path, "a.txt", line)) == set()
