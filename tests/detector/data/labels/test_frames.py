from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from detector.data.labels.annotations import read_image, read_split
from detector.data.labels.frames import in_pixels, upright
from detector.data.labels.pages import LabelRules, Split

# Of an image stored 48 wide and 32 high: a dark box as stored, x 8 to 24 and y 8 to 16, and where
# each orientation of EXIF 2.32, tag 274, displays it: left, top, right, bottom.
STORED = (8, 8, 24, 16)
DISPLAYED = {
    1: (8, 8, 24, 16),
    2: (24, 8, 40, 16),
    3: (24, 16, 40, 24),
    4: (8, 16, 24, 24),
    5: (8, 8, 16, 24),
    6: (16, 8, 24, 24),
    7: (16, 24, 24, 40),
    8: (8, 24, 16, 40),
}
Box = tuple[int, int, int, int]


def corners(box: Box) -> list[list[int]]:
    x0, y0, x1, y1 = box
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def dataset(root: Path, orientation: int, box: Box, size: Any = None) -> Path:
    """The image, with a label of a box in the native format that says `size`."""
    (root / "images/train").mkdir(parents=True)
    (root / "jsons").mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.new("RGB", (48, 32), "white")
    image.paste("black", STORED)
    image.save(root / "images/train/a.jpg", exif=exif, quality=95)
    page = {"words": {"1": {"points": corners(box)}}}
    if size is not None:
        page |= {"img_w": size[0], "img_h": size[1]}
    (root / "jsons/train.json").write_text(json.dumps({"images": {"a.jpg": page}}))
    return root


def read(root: Path, frame: Literal["auto", "displayed", "stored"] = "auto") -> Split:
    return read_split(root, "train", rules=LabelRules(frame=frame))


def box_of(split: Split) -> Box:
    """The word's box, which lies on the dark of the image as it is read."""
    (word,) = split.pages[0].words
    x0, y0, x1, y1 = box = (*word.points.min(axis=0), *word.points.max(axis=0))
    dark = read_image(split.pages[0].path).mean(axis=2) < 100
    inside = np.zeros_like(dark)
    inside[int(y0) : int(y1), int(x0) : int(x1)] = True
    np.testing.assert_array_equal(dark, inside)
    assert sorted(map(tuple, word.points.tolist())) == sorted(map(tuple, corners(box)))
    return tuple(map(int, box))


@pytest.mark.parametrize("orientation", DISPLAYED)
def test_labels_of_either_image_give_the_same_outlines(tmp_path: Path, orientation: int) -> None:
    box = DISPLAYED[orientation]
    size = (32, 48) if orientation >= 5 else (48, 32)
    displayed = read(dataset(tmp_path / "displayed", orientation, box, size))
    assert displayed.faults == ()
    stored = read(dataset(tmp_path / "stored", orientation, STORED), "stored")
    assert box_of(displayed) == box_of(stored) == box
    turned = [] if orientation == 1 else ["stored-frame"]
    assert [fault.kind for fault in stored.faults] == turned


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_the_size_tells_that_labels_are_of_the_stored_image(
    tmp_path: Path, orientation: int
) -> None:
    split = read(dataset(tmp_path, orientation, STORED, (48, 32)))
    assert box_of(split) == DISPLAYED[orientation]
    (fault,) = split.faults
    assert fault.message == (
        "its labels are of the image as stored, 48 x 32, and turned; page kept"
    )


def test_what_is_said_counts_more_than_the_size(tmp_path: Path) -> None:
    split = read(dataset(tmp_path, 6, DISPLAYED[6], (48, 32)), "displayed")
    assert box_of(split) == DISPLAYED[6]
    assert [fault.kind for fault in split.faults] == ["size-mismatch"]


def test_without_a_size_labels_are_of_the_displayed_image(tmp_path: Path) -> None:
    assert box_of(read(dataset(tmp_path, 6, DISPLAYED[6]))) == DISPLAYED[6]


@pytest.mark.parametrize("frame", ["auto", "displayed", "stored"])
def test_fractions_are_of_the_displayed_image_unless_it_is_said(
    tmp_path: Path, frame: Literal["auto", "displayed", "stored"]
) -> None:
    root = dataset(tmp_path, 6, STORED)
    (root / "jsons/train.json").unlink()
    (left, top, right, bottom), size = DISPLAYED[6], (32, 48)
    if frame == "stored":
        (left, top, right, bottom), size = STORED, (48, 32)
    shares = [(left + right) / 2 / size[0], (top + bottom) / 2 / size[1]]
    shares += [(right - left) / size[0], (bottom - top) / size[1]]
    (root / "labels/train").mkdir(parents=True)
    (root / "labels/train/a.txt").write_text(" ".join(map(str, [0, *shares])))
    assert box_of(read(root, frame)) == DISPLAYED[6]


def test_a_turned_tiff_is_read_by_its_stored_size(tmp_path: Path) -> None:
    root = dataset(tmp_path, 1, STORED, (48, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(root / "images/train/a.jpg")
    image.save(root / "images/train/a.tif", exif=exif)
    (root / "images/train/a.jpg").unlink()
    split = read(root)
    assert (split.pages[0].width, split.pages[0].height) == (32, 48)
    assert box_of(split) == DISPLAYED[6]


@pytest.mark.parametrize("points", [None, 3, [[1, None], "x", [1]]])
def test_what_is_no_point_stays(points: Any) -> None:
    words = {"1": {"points": points}, "2": None}
    assert in_pixels(words, 2, 2) == upright(words, 6, (48, 32)) == words
