"""Every figure of both metrics on a small drawn set, against a stored golden file.

`golden/synthetic.json` holds the pages themselves and what they count. When a change of a
figure is intended, draw and count anew, and read the difference before it is committed:

    pip install cleval
    python tests/detector/metrics/test_golden_synthetic.py regenerate

The `reference` figures in the file are those of the published tool (package `cleval`), which
never sees this project's code; regenerating asks it again.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from detector.metrics.characters import Dialect
from detector.metrics.cleval import CLEval, PageCounts, count_page
from detector.metrics.iou import IoU

GOLDEN = Path(__file__).parent / "golden" / "synthetic.json"
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

Polygon = list[list[int]]
Page = dict[str, list[Any]]  # words, texts, ignore (parallel), detections


# ---- the pages --------------------------------------------------------------------------


def draw_pages() -> dict[str, Page]:
    """Fourteen pages, from seeds of their own; only `random()`, whose sequence never changes."""
    word = [[40, 40], [160, 40], [160, 64], [40, 64]]
    upper = [[40, 40], [160, 40], [160, 50], [40, 50]]  # holds no centre
    after, below, between_both = shifted(word, 120, 0), shifted(word, 0, 60), shifted(word, 60, 0)
    around = [[0, 0], [600, 0], [600, 400], [0, 400]]
    return {
        "upright": draw_grid(1, angle=0),
        "rotated": draw_grid(2, angle=9),
        "steep": draw_grid(3, angle=-38),
        "vertical": draw_grid(4, angle=3, tall=True),
        "ignored": draw_grid(5, angle=0, ignored=0.35),
        "crowded": draw_grid(6, angle=2, ignored=0.25, widest=1.6),
        "polygons": polygon_page(7),
        # a forgiven detection on part of a word still makes the other one ambiguous
        "half ignored": page([word, after], ["abc", "###"], [False, True], [word, between_both]),
        "one box over all": page([word, below], ["abc", "de"], [False] * 2, [around]),
        "all ignored": page([word], ["###"], [True], [word, shifted(word, 30, 6), upper]),
        "no detections": page([word, shifted(word, 0, 60)], ["abc", None], [False] * 2, []),
        "no words": page([], [], [], [word]),
        "only bad words": page([[[1, 1], [9, 9], [5, 5]]], ["abc"], [False], []),
        "blank": page([], [], [], []),
    }


def page(
    words: list[Polygon], texts: list[str | None], ignore: list[bool], found: list[Polygon]
) -> Page:
    return {"words": words, "texts": texts, "ignore": ignore, "detections": found}


def draw_grid(
    seed: int,
    angle: float,
    tall: bool = False,
    ignored: float = 0.1,
    widest: float = 0.95,
) -> Page:
    """Words in a grid, turned by `angle` degrees, and detections with every kind of fault.

    Cells are 230 x 50 (`tall`: 50 x 230), so words wider than 1 cell overlap.
    """
    rng = random.Random(seed)
    words: list[Polygon] = []
    texts: list[str | None] = []
    for place in range(24):
        length, thickness = 230 * between(rng, 0.25, widest), 50 * between(rng, 0.3, 0.7)
        x, y = 20.0 + 230 * (place % 4), 20.0 + 50 * (place // 4)
        if tall:
            words.append(turned(y, x, y + thickness, x + length, angle))
        else:
            words.append(turned(x, y, x + length, y + thickness, angle))
        characters = int(between(rng, 0, 13))
        texts.append(None if rng.random() < 0.1 else "영수증 receipt"[:characters])
    ignore = [rng.random() < ignored for _ in words]
    texts = ["###" if i else text for i, text in zip(ignore, texts, strict=True)]
    found = list(faulty(rng, words))
    for _ in range(3):  # on no word, or on part of one
        x, y = between(rng, 0, 900), between(rng, 0, 400)
        right, low = x + between(rng, 10, 90), y + between(rng, 10, 90)
        found.append(turned(x, y, right, low, angle))
    return page(words, texts, ignore, found)


def faulty(rng: random.Random, words: list[Polygon]) -> Iterator[Polygon]:
    """Detections of words: each fault in turn."""
    for i, word in enumerate(words):
        fault = i % 8
        if fault == 0:
            yield word
        elif fault == 1:
            yield jittered(rng, word)
        elif fault == 2:  # merged with the next, which is not found by itself
            following = words[i + 1]
            yield joined(word, following)
        elif fault == 4:
            where = between(rng, 0.3, 0.7)
            yield cut(word, 0, where)
            yield cut(word, where, 1)
        elif fault == 5:
            yield from (word, jittered(rng, word))
        elif fault == 6:
            yield cut(word, 0, between(rng, 0.3, 0.9))
        elif fault == 7:
            yield widened(word, between(rng, 0.2, 0.9))


def joined(first: Polygon, second: Polygon) -> Polygon:
    """From the start of one word to the end of the next in its line."""
    if is_wide(first):
        return [first[0], second[1], second[2], first[3]]
    return [first[0], first[1], second[2], second[3]]


def polygon_page(seed: int) -> Page:
    """Six-point words, a self-crossing one, one listed from elsewhere, and bad outlines."""
    rng = random.Random(seed)
    waves: list[Polygon] = []
    for i in range(6):
        left, top, bend = 20 + 300 * (i % 2), 30 + 70 * (i // 2), round(between(rng, -14, 14))
        right, low = left + round(between(rng, 60, 250)), top + round(between(rng, 16, 30))
        middle = (left + right) // 2
        upper = [[left, top], [middle, top + bend], [right, top]]
        waves.append([*upper, [right, low], [middle, low + bend], [left, low]])
    bow = [[20, 260], [180, 284], [180, 260], [20, 284]]
    line = [[300, 260], [380, 260], [420, 260], [340, 260]]
    words = [*waves, bow, waves[0][2:] + waves[0][:2], line]
    found = [
        waves[0],
        jittered(rng, waves[1]),
        [*waves[2][:2], *waves[2][4:]],  # its left half
        waves[3][:3],  # a triangle
        waves[4][::-1],
        shifted(bow, 4, 2),
        line,
        shifted(waves[5], 12, 20),
    ]
    texts: list[str | None] = ["abcdef", None, "가나다라마바사", "", "ab", "c", "de", "x", "y"]
    return page(words, texts, [False] * 7 + [True, False], found)


def between(rng: random.Random, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def turned(left: float, top: float, right: float, bottom: float, angle: float) -> Polygon:
    """A box turned about (500, 300), in whole pixels, still from its own top-left corner."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return [
        [
            round(500 + (x - 500) * cos - (y - 300) * sin),
            round(300 + (x - 500) * sin + (y - 300) * cos),
        ]
        for x, y in corners
    ]


def shifted(polygon: Polygon, x: int, y: int) -> Polygon:
    return [[px + x, py + y] for px, py in polygon]


def jittered(rng: random.Random, polygon: Polygon) -> Polygon:
    return [[x + round(between(rng, -5, 5)), y + round(between(rng, -5, 5))] for x, y in polygon]


def widened(quad: Polygon, by: float) -> Polygon:
    """Every corner moved away from the centre, by a share of its distance."""
    centre = [sum(p[i] for p in quad) / 4 for i in (0, 1)]
    return [[round(p[i] + by * (p[i] - centre[i])) for i in (0, 1)] for p in quad]


def cut(quad: Polygon, start: float, end: float) -> Polygon:
    """The part of a quad between two shares of its longer way."""

    def along(a: list[int], b: list[int], share: float) -> list[int]:
        return [round(a[i] + share * (b[i] - a[i])) for i in (0, 1)]

    a, b, c, d = quad
    if is_wide(quad):
        return [along(a, b, start), along(a, b, end), along(d, c, end), along(d, c, start)]
    return [along(a, d, start), along(b, c, start), along(b, c, end), along(a, d, end)]


def is_wide(quad: Polygon) -> bool:
    return math.dist(quad[0], quad[1]) >= math.dist(quad[1], quad[2])


# ---- the figures ------------------------------------------------------------------------


def figures(pages: dict[str, Page]) -> dict[str, Any]:
    """Counts of every page and the scores of all, in the layout of the golden file."""
    result: dict[str, Any] = {"pages": {}, "scores": {}}
    for name, drawn in pages.items():
        result["pages"][name] = {d: asdict(counted(d, drawn)) for d in DIALECTS}
        result["pages"][name]["iou"] = iou_figures({name: drawn})[:4]
    for dialect in DIALECTS:
        everything = collect(CLEval(dialect), pages)
        result["scores"][dialect] = scores(everything)
        result["scores"][f"{dialect}, pooled"] = everything.result().counts.scores()
        skipping = collect(CLEval(dialect, blank="skip"), pages)
        result["scores"][f"{dialect}, blank pages skipped"] = scores(skipping)
    result["scores"]["iou"] = iou_figures(pages)[4:]
    return cast(dict[str, Any], json.loads(json.dumps(result)))  # tuples become lists


def counted(dialect: Dialect, drawn: Page) -> PageCounts:
    return count_page(dialect, drawn["words"], drawn["texts"], drawn["ignore"], drawn["detections"])


def collect(metric: CLEval, pages: dict[str, Page]) -> CLEval:
    for name, drawn in pages.items():
        metric.add(name, drawn["words"], drawn["texts"], drawn["ignore"], drawn["detections"])
    return metric


def scores(metric: CLEval) -> tuple[float, float, float]:
    result = metric.result()
    return result.recall, result.precision, result.hmean


def iou_figures(pages: dict[str, Page]) -> tuple[float, ...]:
    """Matched, words, detections and ignored detections; recall, precision and H-mean."""
    metric = IoU(0.5)
    for name, drawn in pages.items():
        metric.add(name, drawn["words"], drawn["ignore"], drawn["detections"])
    r = metric.result()
    counts = (r.matched, r.words, r.detections, r.ignored_detections)
    return *counts, r.recall, r.precision, r.hmean


def reference_figures(pages: dict[str, Page]) -> dict[str, list[float]]:
    """Recall, precision and H-mean by the published tool: of each page of quads, and of all."""
    from cleval import CLEvalMetric
    from cleval.box_types import QUAD

    total, result = CLEvalMetric(), {}
    quads = {name: drawn for name, drawn in pages.items() if only_quads(drawn)}
    for name, drawn in quads.items():
        words = [flat(word) for word in drawn["words"]]
        # it asks for a text of every word: where there is none, as long as for ignored words
        texts = [
            QUAD(word, is_dc=True).transcription if text is None else text
            for word, text in zip(words, drawn["texts"], strict=True)
        ]
        found = [flat(detection) for detection in drawn["detections"]]
        single = CLEvalMetric()
        for metric in (single, total):
            metric.update(found, words, [""] * len(found), texts, drawn["ignore"])
        result[name] = reference_scores(single)
    return result | {"": reference_scores(total)}


def reference_scores(metric: Any) -> list[float]:
    scored = metric.compute()
    return [float(scored[key]) for key in ("det_r", "det_p", "det_h")]


def flat(polygon: Polygon) -> list[int]:
    return [coordinate for point in polygon for coordinate in point]


def only_quads(drawn: Page) -> bool:
    return all(len(polygon) == 4 for polygon in drawn["words"] + drawn["detections"])


def regenerate() -> None:
    """Write the golden file from today's code and the installed package `cleval`."""
    pages = draw_pages()
    golden = {"pages": pages, "expected": figures(pages)}
    golden["reference"] = {
        "package": f"cleval {version('cleval')}",
        "scores": reference_figures(pages),
    }
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(readable(golden) + "\n", encoding="utf-8")


def readable(value: Any, depth: int = 0) -> str:
    """JSON with a line for each entry of the first three levels of objects."""
    if depth == 3 or not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    space = "  " * (depth + 1)
    lines = [f"{space}{json.dumps(key)}: {readable(v, depth + 1)}" for key, v in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + "  " * depth + "}"


# ---- the tests --------------------------------------------------------------------------


STORED = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.is_file() else {}
PAGES: dict[str, Page] = STORED.get("pages", {})
HINT = "\nIntended? Then see the head of test_golden_synthetic.py."


@pytest.mark.parametrize("name", PAGES)
def test_the_counts_of_every_page_are_the_stored_ones(name: str) -> None:
    expected = STORED["expected"]["pages"][name]
    for dialect in DIALECTS:
        assert asdict(counted(dialect, PAGES[name])) == expected[dialect], dialect + HINT
    assert list(iou_figures({name: PAGES[name]})[:4]) == expected["iou"], "iou" + HINT


@pytest.fixture(scope="module")
def scored() -> dict[str, Any]:
    return cast(dict[str, Any], figures(PAGES)["scores"])


@pytest.mark.parametrize("kind", STORED["expected"]["scores"] if STORED else [])
def test_the_scores_of_the_set_are_the_stored_ones(scored: dict[str, Any], kind: str) -> None:
    assert scored[kind] == pytest.approx(STORED["expected"]["scores"][kind], abs=1e-12, rel=0), HINT


def test_every_score_is_stored(scored: dict[str, Any]) -> None:
    assert scored.keys() == STORED["expected"]["scores"].keys()


def test_the_published_tool_counts_the_same() -> None:
    reference = STORED["reference"]["scores"]
    quads = {name: drawn for name, drawn in PAGES.items() if only_quads(drawn)}
    assert reference.keys() == quads.keys() | {""}
    for name in quads:
        ours = counted("official", quads[name]).scores()
        assert ours == pytest.approx(reference[name], abs=1e-6), name  # it divides in float32
    pooled = scores(collect(CLEval("official"), quads))
    assert pooled == pytest.approx(reference[""], abs=1e-6)


def test_the_set_holds_every_kind_of_fault() -> None:
    for dialect in DIALECTS:
        totals = collect(CLEval(dialect), PAGES).result().counts
        assert all(count >= 2 for count in asdict(totals).values()), totals
        assert totals.truth - totals.found > 30
        assert totals.truth == sum(counted(dialect, drawn).truth for drawn in PAGES.values())


def test_the_stored_pages_are_the_drawn_ones() -> None:
    assert draw_pages() == PAGES, HINT


if __name__ == "__main__":
    if sys.argv[1:] != ["regenerate"]:
        raise SystemExit(__doc__)
    regenerate()
