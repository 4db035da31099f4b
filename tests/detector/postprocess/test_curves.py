from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from detector.config.settings import PostprocessConfig
from detector.postprocess.curves import draw_curves, varied
from detector.postprocess.sweep import grid
from detector.postprocess.sweep_scores import SweepScores


def swept(values: dict) -> SweepScores:
    """Made-up scores that rise with the index of the setting, on two pages."""
    tried = grid(PostprocessConfig(), values)
    hmean = np.linspace(0.5, 0.9, len(tried))
    scores = np.repeat(hmean[:, None, None], 2, axis=1).repeat(3, axis=2)
    return SweepScores(
        tried,
        ("a", "b"),
        scores,
        np.ones((len(tried), 11), np.int64),
        np.ones((len(tried), 2, 4), np.int32),
    )


def test_a_line_moves_one_setting_only_in_order_of_its_value():
    found = swept({"box_thresh": (0.6, 0.4), "shape": ("quad", "polygon")})
    assert varied(found) == ["box_thresh", "shape"]
    best = len(found.settings) - 1
    along = [found.settings[i] for i in found.along("box_thresh", around=best)]
    assert [(s.box_thresh, s.shape) for s in along] == [(0.4, "polygon"), (0.6, "polygon")]
    assert len(found.along("shape", around=best)) == 2


def test_a_setting_that_is_no_number_is_shown_at_the_best_of_each_value():
    """No ratio grows a polygon here, so that no two settings differ in the shape alone."""
    growths = [("quad", "ratio", 0.3), ("quad", "ratio", 0.4), ("polygon", "exact", 0.4)]
    found = swept({"box_thresh": (0.1, 0.2)})  # with the stored one three that rise
    settings = tuple(
        PostprocessConfig(shape=shape, unclip=unclip, thresh=thresh)
        for shape, unclip, thresh in growths
    )
    found = replace(found, settings=settings)
    assert found.along("thresh", around=2) == [2]
    assert found.along("shape", around=2) == [2, 1]
    assert found.along("unclip", around=0) == [2, 0]  # `around` itself for its own value


def test_pictures_of_one_many_and_no_varied_setting(tmp_path: Path):
    grids = [
        {"box_thresh": tuple(i / 20 for i in range(20))},
        {
            "thresh": (0.2, 0.4),
            "box_thresh": (0.3, 0.6),
            "shape": ("quad", "polygon"),
            "dilate": (True,),
        },
        {},
    ]
    widths = []
    for index, values in enumerate(grids):
        draw_curves(tmp_path / f"{index}.png", swept(values))
        picture = cv2.imread(str(tmp_path / f"{index}.png"))
        assert np.ptp(picture) > 100
        widths.append(picture.shape[1])
    assert widths[1] > widths[0] >= widths[2]
