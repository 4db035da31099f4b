from __future__ import annotations

from pathlib import Path

import pytest
from label_files import label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.text import yolo_box
from detector.data.labels.formats import claimants
from detector.data.raw.labelled import Labelled

BOX = "0 0.5 0.25 0.5 0.25"
CORNERS = [[0.25, 0.125], [0.75, 0.125], [0.75, 0.375], [0.25, 0.375]]


def page(root: Path, content: str) -> Labelled:
    file = label_file(root, "labels/train/w.2.txt", content)
    assert claimants(file) == {"yolo_box"}
    (found,) = pages_of(yolo_box, file)
    return found


def test_boxes_are_centres_and_sizes_in_fractions(tmp_path: Path) -> None:
    found = page(tmp_path, f"{BOX}\r\n\n  3.0\t0.005 1.01 .01 5e-2  \n")
    first, second = points_of(found)
    assert first == CORNERS
    assert second[0] == pytest.approx([0, 0.985])
    assert second[2] == pytest.approx([0.01, 1.035])
    assert told(found) == [(None, False)] * 2
    assert (found.image, found.unit, dict(found.left_out)) == ("w.2", "fraction", {})


def test_confidences_of_predictions_are_left_out_and_counted(tmp_path: Path) -> None:
    found = page(tmp_path, f"{BOX} 0.93\n{BOX} 0.41\n{BOX}\n")
    assert points_of(found) == [CORNERS] * 3
    assert found.left_out == {"confidence": 2}


def test_boxes_and_four_corners_do_not_mix(tmp_path: Path) -> None:
    file = label_file(tmp_path, "a.txt", f"{BOX}\n\n{BOX}\n0 .1 .1 .2 .1 .2 .2 .1 .2\n")
    with pytest.raises(InputError, match=r"a\.txt: line 4 has 9 columns, but the file has boxes"):
        pages_of(yolo_box, file)


def test_lines_that_are_no_boxes_are_told_with_the_others(tmp_path: Path) -> None:
    wrong = ["0 0.5 0.5", "text 0.5 0.5 0.1 0.1", "0 50 50 10 10", "-1 .5 .5 .1 .1", "0 nan 0 0 0"]
    found = page(tmp_path, "\n".join([*[BOX] * 5, *wrong]))
    assert points_of(found)[5:] == wrong
    survives(yolo_box, label_file(tmp_path, "a.txt", "\n".join(wrong)))


@pytest.mark.parametrize("line", ["0 20 20 120 40", "0 .1 .1 .2 .1 .2 .2", "0.5 .1 .1 .2 .2"])
def test_other_lines_are_not_claimed(tmp_path: Path, line: str) -> None:
    assert claimants(label_file(tmp_path, "a.txt", f"{line}\n")) == set()
