from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from detector.metrics.characters import Dialect
from detector.metrics.cleval import PageMatch, read_words
from detector.metrics.explain import detection_kinds, explain

Polygon = list[list[float]]


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


PAGE = yaml.safe_load(Path(__file__).with_name("one_of_each.yaml").read_text(encoding="utf-8"))
WORDS = [box(*sides) for sides in PAGE["words"]]
FOUND = [box(*sides) for sides in PAGE["found"]]
KINDS = PAGE["kinds"]


def matched(dialect: Dialect = "competition", found: list[Any] | None = None) -> PageMatch:
    ignore = [i == 5 for i in range(len(WORDS))]
    words = read_words(dialect, WORDS, ["abc"] * len(WORDS), ignore)
    return words.match(FOUND if found is None else found)


def empty() -> PageMatch:
    return read_words("competition", [], [], []).match([])


def test_kinds_of_detections() -> None:
    assert detection_kinds(matched()) == KINDS


def test_a_detection_on_several_words_is_merged_even_where_one_is_split() -> None:
    found = [box(20, 30, 240, 50), box(200, 30, 240, 50)]
    words = read_words("competition", [WORDS[0], WORDS[1]], [None] * 2, [False] * 2)
    assert detection_kinds(words.match(found)) == ["merged", "split"]


def test_every_word_and_detection_has_its_line() -> None:
    assert explain(matched()) == [
        "word 0: 5 of 5 characters, by detection 0",
        "word 1: 5 of 5 characters, by detections 1 and 2; 2 parts cost 1",
        "word 2: 3 of 3 characters, by detection 3",
        "word 3: 3 of 3 characters, by detection 3",
        "word 4: missed, 0 of 5 characters",
        "word 5: ignored",
        "word 6: left out, its outline describes no area",
        "detection 0: on word 0",
        "detection 1: on word 1",
        "detection 2: on word 1",
        "detection 3: on words 2 and 3; 2 words cost 1",
        "detection 4: forgiven, it lies on ignored words",
        "detection 5: false positive, costs 3 characters",
        # 5 + 5 + 3 + 3 of 21; 16 + 3 detected
        "recall = (16 found - 1 split) / 21 = 0.7143",
        "precision = (16 found - 1 merged) / (16 in detections + 3 false) = 0.7895",
        "H-mean = 0.7500",
    ]


def test_words_are_numbered_as_given_whatever_is_left_out() -> None:
    words = read_words("competition", [WORDS[6], WORDS[0]], [None] * 2, [False] * 2)
    lines = explain(words.match([WORDS[0], WORDS[0], WORDS[0]]))
    assert lines[0] == "word 0: left out, its outline describes no area"
    assert lines[1] == "word 1: 5 of 5 characters, by detections 0, 1 and 2; 3 parts cost 2"
    assert lines[2:5] == [f"detection {i}: on word 1" for i in range(3)]


def test_one_character_is_singular() -> None:
    # official: a wide false positive costs one
    assert "detection 5: false positive, costs 1 character" in explain(matched("official"))


def test_an_empty_page_has_its_scores() -> None:
    assert explain(empty()) == [
        "recall = (0 found - 0 split) / 0 = 0.0000",
        "precision = (0 found - 0 merged) / (0 in detections + 0 false) = 0.0000",
        "H-mean = 0.0000",
    ]
