"""Pictures and kept curves, on pages whose pixels are known."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from detector.config.settings import PostprocessConfig
from detector.core.draw import IGNORED, PREDICTED, TRUE
from detector.data.labels.pages import Page, Word
from detector.postprocess.maps import PageMap
from detector.postprocess.polygons import Detections
from detector.postprocess.sweep_scores import SweepScores
from detector.training.monitor import (
    CAPTION_PX,
    CURVE,
    box_thresh_curve,
    page_picture,
    show_box_thresh,
)
from detector.training.storage.best import keep_box_thresh

HALF = np.array([[0.5, 0, 0], [0, 0.5, 0]])  # from page to map


def box(left: int, top: int, side: int = 40) -> np.ndarray:
    right, bottom = left + side, top + side
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def has(part: np.ndarray, colour: tuple[int, int, int]) -> bool:
    """Whether a line of this colour is seen, softened as it is by drawing and resizing."""
    return bool((np.abs(part.astype(int) - colour).max(axis=-1) < 40).any())


def test_a_picture_is_true_words_predicted_words_and_the_map_side_by_side(tmp_path: Path):
    path = tmp_path / "page.png"
    cv2.imwrite(str(path), np.full((400, 200, 3), 255, np.uint8))
    words = (Word("1", box(20, 20), "a", False), Word("2", box(100, 20), None, True))
    probability = np.zeros((200, 100), np.float32)
    probability[150:160, 20:30] = 1
    page_map = PageMap(path.name, probability, HALF, (200, 400))
    found = Detections([box(20, 300)], np.ones(1, np.float32))
    picture = page_picture(Page(path.name, path, 200, 400, words), page_map, found)
    assert picture.shape == (CAPTION_PX + 800, 3 * 400, 3)
    titles, below = picture[:CAPTION_PX], picture[CAPTION_PX:]
    true, predicted, grey = (below[:, left : left + 400] for left in (0, 400, 800))
    assert [has(true, c) for c in (TRUE, IGNORED, PREDICTED)] == [True, True, False]
    assert [has(predicted, c) for c in (TRUE, IGNORED, PREDICTED)] == [True, True, True]
    # Twice the page and four times the map in size; the edges of the block are blurred.
    white = np.argwhere(grey[..., 0] > 250)
    assert np.abs(white.min(axis=0) - (600, 80)).max() <= 4
    assert np.abs(white.max(axis=0) - (640, 120)).max() <= 4
    assert (grey == grey[..., :1]).all()
    assert all((titles[:, left : left + 400] == 0).any() for left in (0, 400, 800))


def swept(hmeans: dict[tuple[float, float], float]) -> SweepScores:
    """A sweep of one page with an H-mean for each (thresh, box_thresh)."""
    settings = tuple(PostprocessConfig(thresh=t, box_thresh=b) for t, b in hmeans)
    scores = np.array(list(hmeans.values()))[:, None, None] * np.ones((1, 1, 3))
    counts = np.zeros((len(settings), 11), np.int64)
    return SweepScores(
        settings, ("a.jpg",), scores, counts, np.zeros((len(settings), 1, 4), np.int32)
    )


def test_the_kept_curve_is_the_one_through_the_best_setting(tmp_path: Path):
    other = {(0.3, 0.7): 0.5, (0.3, 0.4): 0.6}
    found = swept(other | {(0.2, 0.7): 0.75, (0.2, 0.6): 0.875, (0.2, 0.4): 0.625})
    keep_box_thresh(tmp_path, box_thresh_curve(found, 3))
    kept = json.loads((tmp_path / "box_thresh.json").read_text())
    assert (kept["epoch"], kept["box_thresh"]) == (3, [0.4, 0.6, 0.7])
    assert kept["hmean"] == kept["recall"] == kept["precision"] == [0.625, 0.875, 0.75]
    show_box_thresh(tmp_path)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars(CURVE)] == [
        (40, 0.625),
        (60, 0.875),
        (70, 0.75),
    ]


def test_a_best_epoch_without_a_sweep_leaves_no_older_curve(tmp_path: Path):
    keep_box_thresh(tmp_path, box_thresh_curve(swept({(0.3, 0.4): 0.5, (0.3, 0.5): 0.25}), 1))
    keep_box_thresh(tmp_path, box_thresh_curve(None, 2))
    assert not list(tmp_path.iterdir())
    show_box_thresh(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("around", [0, 2])
def test_settings_along_an_axis_share_all_others(around: int):
    found = swept({(0.3, 0.7): 0.5, (0.2, 0.5): 0.5, (0.3, 0.4): 0.5})
    assert found.along("box_thresh", around=around) == [2, 0]
