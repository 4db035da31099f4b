from __future__ import annotations

from pathlib import Path

import pytest
from label_files import label_file, pages_of, points_of, survives, told

from detector.data.formats.text import icdar_mlt
from detector.data.labels.formats import claimants
from detector.data.raw.labelled import Labelled

QUAD = "10,20,50,20,50,40,10,40"
CORNERS = [[10, 20], [50, 20], [50, 40], [10, 40]]


def page(root: Path, content: str) -> Labelled:
    file = label_file(root, "gt_img_5.txt", content)
    assert claimants(file) == {"icdar_mlt"}
    (found,) = pages_of(icdar_mlt, file)
    return found


def test_the_script_is_the_language_and_no_part_of_the_text(tmp_path: Path) -> None:
    found = page(
        tmp_path,
        f'{QUAD},Latin,Oui, "non"\r\n{QUAD},Korean,맛\n{QUAD},None,###\n{QUAD},Korean,###\n'
        f"{QUAD},Hindi,5,000\n{QUAD},Symbols,\n{QUAD},Mixed,K팝",
    )
    assert told(found) == [
        ('Oui, "non"', False),
        ("맛", False),
        ("###", True),
        ("###", True),
        ("5,000", False),
        ("", False),
        ("K팝", False),
    ]
    assert points_of(found) == [CORNERS] * 7
    languages = [word.get("language") for word in found.words.values()]
    assert languages == ["Latin", "Korean", None, "Korean", "Hindi", "Symbols", "Mixed"]
    assert (found.image, found.others) == ("gt_img_5", ("img_5",))


def test_a_script_that_is_not_known_is_one_among_others(tmp_path: Path) -> None:
    found = page(tmp_path, f"{QUAD},Latin,a\n" * 3 + f"{QUAD},Greek,τσάι\n{QUAD},latin\n{QUAD},b\n")
    assert told(found)[3:] == [("τσάι", False), (None, False), ("b", False)]


@pytest.mark.parametrize("line", [f"{QUAD},Latin", f"{QUAD},Greek,a", f"{QUAD},a, b", "a"])
def test_lines_without_a_script_and_a_text_are_of_other_formats(tmp_path: Path, line: str) -> None:
    assert not icdar_mlt.claims(label_file(tmp_path, "a.txt", f"{line}\n"))


def test_lines_that_are_no_words_are_told_with_the_words(tmp_path: Path) -> None:
    file = label_file(tmp_path, "a.txt", f"{QUAD},Latin,a\n1,2,3,Latin,b\n,\n\x00\n")
    (found,) = icdar_mlt.read(file)
    assert [len(points) for points in points_of(found)] == [4, 1, 0, 0]
    survives(icdar_mlt, file)
