"""Every figure of a sweep over six drawn pages, pinned in a file: no score changes silently.

When a change is intended, `python tests/detector/postprocess/test_golden_sweep.py regenerate`
writes the file again; say in the commit why the figures moved.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detector.config.settings import PostprocessConfig
from detector.data.labels.pages import Page, Word
from detector.postprocess.maps import PageMap
from detector.postprocess.polygons import detect
from detector.postprocess.sweep import grid, sweep

GOLDEN = Path(__file__).with_name("golden_sweep.json")
GRID = {
    "thresh": (0.2, 0.4),
    "unclip_ratio": (1.2, 1.8),
    "shape": ("quad", "polygon"),
    "box_thresh": (0.3, 0.5, 0.7),
    "max_candidates": (4, 1000),
    "min_side_px": (0.0, 8.0),
}
AFFINE = np.array([[0.5, 0.0, -0.25], [0.0, 0.5, -0.25]])


def drawn(seed: int) -> tuple[Page, PageMap]:
    """A 320 x 240 page and its half-size map, made of whole numbers only: the same anywhere."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 9000, (120, 160)).astype(np.int32)
    words = []
    for index in range(int(rng.integers(0, 9)) if seed else 0):
        x, y = 50 + 105 * (index % 3), 40 + 75 * (index // 3)
        width, height, slant = rng.integers([30, 12, -8], [90, 34, 9]).tolist()
        left, right = [-width, -height - slant], [width, -height + slant]
        corners = np.array([left, right, [width, height + slant], [-width, height - slant]])
        outline = np.array([x, y]) + corners // 2
        text = "abcdefgh"[: int(rng.integers(1, 9))] if index % 4 else None
        words.append(Word(str(index), outline.astype(np.float32), text, index == 5))
        kernel = (np.array([x, y]) + corners // 4) // 2
        height_of_map = int(rng.integers(12000, 65535))
        mask = np.zeros(levels.shape, np.uint8)
        cv2.fillPoly(mask, [kernel.astype(np.int32)], 1)
        dents = rng.integers(0, 12000, levels.shape)
        levels = np.where(mask > 0, np.maximum(height_of_map - dents, 0), levels)
    for _ in range(seed):  # text where there is none, more of it on later pages
        left, top = rng.integers([0, 0], [130, 100]).tolist()
        wide, high = rng.integers([6, 4], [30, 14]).tolist()
        levels[top : top + high, left : left + wide] = int(rng.integers(14000, 50000))
    probability = levels.astype(np.float32) * np.float32(1 / 65535)
    page = Page(f"{seed}.jpg", Path("unused"), 320, 240, tuple(words))
    return page, PageMap(page.name, probability, AFFINE, (320, 240))


def figures() -> dict[str, Any]:
    """Everything that is pinned."""
    pages, maps = zip(*(drawn(seed) for seed in range(6)), strict=True)
    swept = sweep(maps, pages, grid(PostprocessConfig(), GRID))
    fitted = swept.cross_fit()
    assert fitted is not None
    found = [detect(m.probability, **BASE, affine=m.affine, size=m.size) for m in maps]
    return {
        "words": [len(page.words) for page in pages],
        "detections": [[np.round(p, 3).tolist() for p in one.polygons] for one in found],
        "scores": [[round(float(s), 6) for s in one.scores] for one in found],
        "best": swept.best(),
        "crossfit_hmean": fitted.hmean,
        "settings": [
            {
                **{key: getattr(setting, key) for key in GRID},
                "blank_pages": swept.scores(index).blank_pages,
                **swept.scores(index).metrics(),
            }
            for index, setting in enumerate(swept.settings)
        ],
    }


BASE = PostprocessConfig().model_dump()


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return figures()


def test_the_set_shows_what_it_should(expected: dict[str, Any]):
    """Pages with and without words, and settings that differ in every figure."""
    assert 0 in expected["words"]
    assert max(expected["words"]) > 5
    for name in ("hmean", "precision", "recall", "hmean_pooled", "iou_hmean"):
        assert len({entry[name] for entry in expected["settings"]}) > 20


def test_detections_are_the_golden_ones(expected: dict[str, Any], measured: dict[str, Any]):
    assert measured["words"] == expected["words"]
    for mine, theirs in zip(measured["detections"], expected["detections"], strict=True):
        assert len(mine) == len(theirs)
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-3)
    for mine, theirs in zip(measured["scores"], expected["scores"], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6)


def test_every_figure_of_the_sweep_is_the_golden_one(
    expected: dict[str, Any], measured: dict[str, Any]
):
    assert measured["best"] == expected["best"]
    assert measured["crossfit_hmean"] == pytest.approx(expected["crossfit_hmean"], abs=1e-12)
    for mine, theirs in zip(measured["settings"], expected["settings"], strict=True):
        assert mine == pytest.approx(theirs, abs=1e-12)


if __name__ == "__main__":
    if sys.argv[1:] != ["regenerate"]:
        sys.exit(__doc__)
    GOLDEN.write_text(json.dumps(figures(), indent=None, separators=(",", ":")) + "\n")
