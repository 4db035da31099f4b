from __future__ import annotations

from typing import Any

from detector.metrics.characters import Dialect
from detector.metrics.cleval import PageMatch, read_words
from detector.metrics.explain import detection_kinds, explain

Polygon = list[list[float]]


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


# One word of each fate; a box of 90 x 20 has 5 characters, of 50 x 20 three.
WORDS = [
    box(20, 30, 110, 50),  # found whole
    box(150, 30, 240, 50),  # found in two parts
    box(20, 90, 70, 110),  # merged ...
    box(90, 90, 140, 110),  # ... with this one
    box(180, 90, 270, 110),  # missed
    box(20, 150, 110, 170),  # ignored
    box(5, 5, 15, 5),  # no area
]
FOUND = [
    WORDS[0],
    box(150, 30, 190, 50),
    box(192, 30, 240, 50),
    box(18, 88, 142, 112),
    box(20, 150, 100, 170),
    box(180, 150, 230, 170),
]
KINDS = ["matched", "split", "split", "merged", "forgiven", "false"]


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
