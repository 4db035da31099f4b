from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_files import JSON, damaged, label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.tools import ppocrlabel
from detector.data.labels.formats import label_files

QUAD = [[1, 2], [30, 2.5], [30, 12], [1, 12]]


def word(text: Any, points: Any = QUAD, **more: Any) -> dict[str, Any]:
    return {"transcription": text, "points": points, "difficult": False} | more


def line(image: str, *words: Any) -> str:
    return f"{image}\t{json.dumps(words, ensure_ascii=False)}"


def test_a_line_is_an_image(tmp_path: Path) -> None:
    rows = [line("shop/a.png", word('Tea,\t"hot"'), word("null")), "", line("shop/b.png"), ""]
    content = "\r\n".join(rows).encode("utf-8-sig")
    pages = pages_of(ppocrlabel, label_file(tmp_path, "shop/Label.txt", content))
    assert [page.image for page in pages] == ["shop/a.png", "shop/b.png"]
    assert told(pages[0]) == [('Tea,\t"hot"', False), ("null", False)]
    assert points_of(pages[0]) == [QUAD, QUAD]
    assert pages[1].words == {}


def test_dont_care_is_said_by_the_text_alone(tmp_path: Path) -> None:
    words = [word("###"), word("*"), word("**"), word("x", difficult=True, key_cls="None")]
    (page,) = pages_of(ppocrlabel, label_file(tmp_path, "train.txt", line("a.png", *words)))
    assert [ignore for _, ignore in told(page)] == [True, True, False, False]


def test_paths_of_another_machine(tmp_path: Path) -> None:
    content = line("D:\\data\\det\\train\\a.png") + "\n" + line("/home/me/det/b.png")
    pages = pages_of(ppocrlabel, label_file(tmp_path, "train.txt", content))
    assert [page.image for page in pages] == ["D:/data/det/train/a.png", "/home/me/det/b.png"]


def test_what_is_malformed_is_passed_on(tmp_path: Path) -> None:
    words = [7, word("a", "no"), word(5, [["1", 2], ["x", 3]]), word("b", [["1", "2"]] * 4)]
    (page,) = pages_of(ppocrlabel, label_file(tmp_path, "a.txt", line("a.png", *words)))
    assert points_of(page) == [7, "no", [["1", 2], ["x", 3]], [[1, 2]] * 4]


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    content = line("a.png", word("x")) + "\nb.png\t[{'points': None}]\n"
    file = label_file(tmp_path, "Label.txt", content)
    assert ppocrlabel.claims(file)
    with pytest.raises(InputError, match="line 2"):
        list(ppocrlabel.read(file))


def test_files_beside_the_labels_are_none(tmp_path: Path) -> None:
    for name in ("Label.txt", "fileState.txt", "rec_gt.txt"):
        label_file(tmp_path, f"shop/{name}", "shop/a.png\t1\n")
    assert [file.name.name for file in label_files(tmp_path)] == ["Label.txt"]


@pytest.mark.parametrize("content", ["", "a.png\tword\n", "a.png [1]\n", "a.png\t[1, 2]\nb\n"])
def test_other_text_is_not_claimed(tmp_path: Path, content: str) -> None:
    assert not ppocrlabel.claims(label_file(tmp_path, "a.txt", content))


def test_a_line_without_a_tab_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1: must be a path, a tab"):
        list(ppocrlabel.read(label_file(tmp_path, "a.txt", "a.png [1]\n")))


@examples(100)
@given(JSON | damaged([word("x"), word("y")]))
def test_any_json_ends_in_pages_or_one_message(tmp_path_factory, content: Any) -> None:
    row = f"a.png\t{json.dumps(content)}\n"
    survives(ppocrlabel, label_file(tmp_path_factory.getbasetemp(), "ppocr.txt", row))
