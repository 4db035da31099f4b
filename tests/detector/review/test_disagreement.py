from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from detector.config.cli import build
from detector.data.labels.annotations import read_split
from detector.data.labels.pages import Page, Word
from detector.inspect import InspectConfig, main
from detector.postprocess.maps import PageMap
from detector.postprocess.polygons import Detections
from detector.review.disagreement import disagreement, unlabelled

# The core of 40 x 20 px: D = 800 (1 - 0.16) / 120 = 5.6 px are taken from each side.
CORE = (slice(26, 35), slice(26, 55))


def box(x: float, y: float, width: float = 40, height: float = 20) -> NDArray[np.float32]:
    right, below = x + width, y + height
    return np.array([[x, y], [right, y], [right, below], [x, below]], np.float32)


def page(*words: Word) -> Page:
    return Page("a.jpg", Path("a.jpg"), 200, 100, words)


def word(name: str, x: float, y: float, ignore: bool = False) -> Word:
    return Word(name, box(x, y), None, ignore)


def page_map(probability: NDArray[np.float32], scale: float = 1.0) -> PageMap:
    return PageMap("a.jpg", probability, np.diag([scale, scale, 0])[:2], (200, 100))


def test_the_mean_over_the_core_decides() -> None:
    probability = np.zeros((100, 200), np.float32)
    probability[CORE] = 0.9
    words = page(word("seen", 20, 20), word("unseen", 120, 20), word("any", 120, 60, ignore=True))
    (doubt,) = disagreement(words, page_map(probability))
    assert (doubt.word, doubt.kind, doubt.score) == ("unseen", "model-disagrees", 1.0)
    probability[20:40, 120:160] = 0.12
    (doubt,) = disagreement(words, page_map(probability))
    assert doubt.score == pytest.approx(1 - 0.5 * 0.12 / 0.15, abs=2e-3)
    probability[20:40, 120:160] = 0.16
    assert disagreement(words, page_map(probability)) == []


def test_words_lie_on_the_map_by_its_affine_and_lowest_come_first() -> None:
    probability = np.zeros((50, 100), np.float32)
    probability[10:20, 10:30] = 0.9  # half the size of the page
    probability[30:40, 10:30] = 0.1
    words = page(word("low", 20, 60), word("seen", 20, 20), word("none", 120, 60))
    found = disagreement(words, page_map(probability, scale=0.5))
    assert [d.word for d in found] == ["none", "low"]


def test_words_beyond_the_map_and_thin_ones() -> None:
    thin = Word("thin", box(20, 20, 40, 0.4), None, False)
    beyond = word("beyond", 500, 500)
    found = disagreement(page(thin, beyond), page_map(np.ones((100, 200), np.float32)))
    assert [d.word for d in found] == ["beyond"]


def test_detections_without_a_word() -> None:
    polygons = [box(20, 20), box(120, 20), box(130, 60)]
    detections = Detections(polygons, np.array([0.9, 0.8, 0.4], np.float32))
    # The third lies on a don't-care word with a quarter of its area, the second nowhere.
    words = page(word("1", 22, 21), word("2", 160, 60, ignore=True))
    (doubt,) = unlabelled(words, detections)
    assert (doubt.word, doubt.score, doubt.points) == (
        "new-1",
        0.8,
        ((120, 20), (160, 20), (160, 40), (120, 40)),
    )
    assert [d.word for d in unlabelled(page(), detections)] == ["new-1", "new-2", "new-3"]
    nothing = Detections([], np.zeros(0, np.float32))
    assert unlabelled(words, nothing) == []


def test_inspect_lists_words_that_only_the_model_sees(
    drawn_root: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    shutil.copytree(drawn_root, root)
    path = root / "jsons/val.json"
    content = json.loads(path.read_text())
    gone = content["images"]["val_000.jpg"]["words"].pop("0001")
    path.write_text(json.dumps(content))
    settings = {"data.root": root, "data.split": "val", "output": tmp_path / "out"}
    assert main(build(InspectConfig, settings | {"checkpoint": trained})) == 0
    assert "model-disagrees (the model sees no word in it, or" in capsys.readouterr().out
    listed = tmp_path / "out/suspicious.json"
    entry = json.loads(listed.read_text())["images"]["val_000.jpg"]["new-1"]
    centre = np.mean(entry["points"], axis=0)
    assert centre == pytest.approx(np.mean(gone["points"], axis=0), abs=8)

    added = read_split(root, "val", exclude=listed).pages[0].words[-1]
    assert (added.id, added.ignore) == ("new-1", True)
