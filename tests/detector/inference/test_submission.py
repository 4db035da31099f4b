from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from detector.inference.submission import write_csv, write_json
from detector.postprocess.polygons import Detections

SQUARE = np.array([[0, 0], [10.126, 0], [10, 5.5], [0, 5]], dtype=np.float32)
FOUND = {
    "a, b.jpg": (
        Detections([SQUARE, SQUARE + 20], np.array([0.91234, 0.5], dtype=np.float32)),
        (100, 50),
    ),
    "빈.png": (Detections([], np.zeros(0, dtype=np.float32)), (3, 4)),
}


def test_json_has_the_competitions_layout(tmp_path: Path):
    write_json(tmp_path / "pred.json", FOUND)
    images = json.loads((tmp_path / "pred.json").read_text(encoding="utf-8"))["images"]
    assert list(images) == ["a, b.jpg", "빈.png"]
    first = images["a, b.jpg"]
    assert (first["img_w"], first["img_h"]) == (100, 50)
    assert first["words"]["0001"] == {
        "points": [[0.0, 0.0], [10.13, 0.0], [10.0, 5.5], [0.0, 5.0]],
        "score": 0.9123,
    }
    assert list(first["words"]) == ["0001", "0002"]
    assert images["빈.png"]["words"] == {}


def test_csv_has_points_by_space_and_words_by_bar(tmp_path: Path):
    write_csv(tmp_path / "pred.csv", FOUND)
    with (tmp_path / "pred.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["filename", "polygons"]
    assert rows[1] == [
        "a, b.jpg",
        "0 0 10.13 0 10 5.5 0 5|20 20 30.13 20 30 25.5 20 25",
    ]
    assert rows[2] == ["빈.png", ""]
