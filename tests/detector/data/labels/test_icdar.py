from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detector.data.labels.annotations import read_split, scan_split

QUAD = "10,20,50,20,50,40,10,40"


def write(root: Path, labels: dict[str, bytes | str], images: tuple[str, ...]) -> Path:
    (root / "images/train").mkdir(parents=True)
    (root / "labels/train").mkdir(parents=True)
    for name in images:
        Image.new("RGB", (100, 80), "white").save(root / "images/train" / name)
    for name, text in labels.items():
        data = text if isinstance(text, bytes) else text.encode()
        (root / "labels/train" / name).write_bytes(data)
    return root


def words(root: Path, text: bytes | str) -> list[tuple[str, int, str | None, bool]]:
    """(id, number of points, text, ignore) of the words of one page."""
    split = read_split(write(root, {"gt_a.txt": text}, ("a.png",)), "train")
    return [(w.id, len(w.points), w.text, w.ignore) for w in split.pages[0].words]


def test_bom_crlf_commas_and_dont_care(tmp_path: Path) -> None:
    text = (
        b"\xef\xbb\xbf"
        + f"{QUAD},합계, 1,000원\r\n1,1,9,1,9,9,1,9,###\r\n\r\n60,1,69,1,69,9,60,9\r\n".encode()
    )
    assert words(tmp_path, text) == [
        ("0001", 4, "합계, 1,000원", False),
        ("0002", 4, "###", True),
        ("0004", 4, None, False),
    ]


def test_points_are_pairs_in_order(tmp_path: Path) -> None:
    root = write(tmp_path, {"a.txt": " 10.5,20, 5e1 ,20,50,40,10,40,x\n"}, ("a.png",))
    (word,) = read_split(root, "train").pages[0].words
    np.testing.assert_array_equal(word.points, [[10.5, 20], [50, 20], [50, 40], [10, 40]])


@pytest.mark.parametrize("text", ["9.00", "1,234", "1,234.00", "2018", "12,5,7"])
def test_numeric_text_stays_text_among_quadrilaterals(tmp_path: Path, text: str) -> None:
    found = words(tmp_path, f"{QUAD},{text}\n1,1,9,1,9,9,1,9,TOTAL\n")
    assert found[0] == ("0001", 4, text, False)


def test_longer_outlines_when_every_line_has_them(tmp_path: Path) -> None:
    text = "10,20,30,15,50,20,50,40,30,35,10,40,A,B\n1,1,5,0,9,1,9,9,1,9,7\n"
    assert words(tmp_path, text) == [("0001", 6, "A,B", False), ("0002", 5, "7", False)]


def test_lines_without_four_points_are_dont_care_where_they_say_a_place(tmp_path: Path) -> None:
    text = f"{QUAD},A\n1,2,3,4,B\nnan,1,9,1,9,9,1,9,C\n5,6,D\nE\n"
    split = scan_split(write(tmp_path, {"gt_a.txt": text}, ("a.png",)), "train")
    found = split.pages[0].words
    assert [(word.id, word.ignore) for word in found] == [
        ("0001", False),
        ("0002", True),
        ("0003", True),
    ]
    np.testing.assert_array_equal(found[1].points, [[1, 2], [3, 2], [3, 4], [1, 4]])
    np.testing.assert_array_equal(found[2].points, [[1, 1], [9, 1], [9, 9], [1, 9]])
    assert [(f.word, f.kind) for f in split.faults] == [
        ("0002", "few-points"),
        ("0003", "non-finite"),
        ("0004", "no-place"),
        ("0005", "no-place"),
    ]


def test_many_numbers_are_suspicious(tmp_path: Path) -> None:
    text = f"{QUAD},A\n10,50,20,50,30,50,40,50,40,60,30,60,20,60,10,60,B\n"
    split = scan_split(write(tmp_path, {"gt_a.txt": text}, ("a.png",)), "train")
    assert ("0002", "many-numbers") in [(f.word, f.kind) for f in split.faults]


def test_files_are_matched_by_name(tmp_path: Path) -> None:
    labels = {"gt_a.txt": QUAD, "b.TXT": QUAD, "c.txt": "", "gt_lost.txt": QUAD, "readme.md": "x"}
    root = write(tmp_path, labels, ("a.png", "b.jpg", "c.png", "d.png"))
    split = scan_split(root, "train")
    assert [(p.name, len(p.words)) for p in split.pages] == [
        ("a.png", 1),
        ("b.jpg", 1),
        ("c.png", 0),
    ]
    assert [(f.file, f.kind) for f in split.faults] == [
        ("d.png", "no-annotation"),
        ("gt_lost.txt", "no-image"),
    ]


def test_uncertain_files_are_not_guessed(tmp_path: Path) -> None:
    labels = {"gt_a.txt": QUAD, "a.txt": QUAD, "b.txt": QUAD, "ok.txt": QUAD, "bad.txt": b"\xff,1"}
    root = write(tmp_path, labels, ("a.png", "b.png", "b.jpg", "ok.png", "bad.png"))
    split = scan_split(root, "train")
    assert [p.name for p in split.pages] == ["ok.png"]
    assert [(f.file, f.kind) for f in split.faults] == [
        ("a.png", "two-labels"),
        ("b.jpg", "shared-label"),
        ("b.png", "shared-label"),
        ("bad.png", "bad-encoding"),
    ]
