"""Predictions as files: the competition's JSON and CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from detector.core.escape import csv_cell, encodable
from detector.core.files import replacing, write_text
from detector.postprocess.polygons import Detections


def to_json(found: dict[str, tuple[Detections, tuple[int, int]]]) -> dict[str, Any]:
    """The competition's layout, with a score per word; values are (detections, (width, height)).

    Points are xy in source pixels, rounded to a hundredth.
    """
    images = {}
    for name, (detections, (width, height)) in found.items():
        words = {
            f"{number:04d}": {"points": _rounded(polygon), "score": round(float(score), 4)}
            for number, (polygon, score) in enumerate(
                zip(detections.polygons, detections.scores, strict=True), start=1
            )
        }
        images[name] = {"img_w": width, "img_h": height, "words": words}
    return {"images": images}


def write_json(path: Path, found: dict[str, tuple[Detections, tuple[int, int]]]) -> None:
    """Replace `path` with the submission JSON, atomically."""
    write_text(path, encodable(json.dumps(to_json(found), ensure_ascii=False, indent=1)) + "\n")


def write_csv(path: Path, found: dict[str, tuple[Detections, tuple[int, int]]]) -> None:
    """Replace `path` with `filename,polygons`: coordinates by spaces, words by `|`.

    A name that a spreadsheet would run, such as `=1+1.jpg`, gets a leading apostrophe.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "polygons"])
        for name, (detections, _) in found.items():
            words = (
                " ".join(f"{value:g}" for point in _rounded(polygon) for value in point)
                for polygon in detections.polygons
            )
            writer.writerow([csv_cell(encodable(name)), "|".join(words)])


def _rounded(polygon: Any) -> list[list[float]]:
    return [[round(float(x), 2), round(float(y), 2)] for x, y in polygon]
