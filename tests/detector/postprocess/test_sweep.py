from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.config.postprocess import CHOOSING
from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError, JobError
from detector.data.labels.annotations import read_split
from detector.data.labels.pages import Page, Word
from detector.inference.detector import load_detector
from detector.inference.evaluation import collect_keeping_maps, evaluate
from detector.metrics.cleval import CLEval
from detector.metrics.iou import IoU
from detector.metrics.scores import Scores, assemble
from detector.postprocess.maps import PageMap, PageMaps, quantize
from detector.postprocess.polygons import detect
from detector.postprocess.sweep import (
    FIND_KEYS,
    GROW_KEYS,
    QUICK_GRID,
    around,
    grid,
    quick_figures,
    sweep,
)
from detector.postprocess.sweep_scores import MOST_GIVEN

BASE = PostprocessConfig()
AFFINE = np.array([[0.5, 0.0, -0.25], [0.0, 0.5, -0.25]])


def drawn_page(seed: int, *, words: int = 6) -> tuple[Page, PageMap]:
    """A 240 x 160 page of rotated words, and a half-size map that finds most of them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-3, 1.2, (80, 120)).astype(np.float32)
    annotated = []
    for index in range(words):
        x, y = 35 + 80 * (index % 3), 35 + 60 * (index // 3)
        box = ((x, y), (rng.uniform(20, 60), rng.uniform(8, 24)), rng.uniform(-20, 20))
        corners = cv2.boxPoints(box)
        annotated.append(Word(str(index), corners, "text"[: 1 + index % 4], bool(index == 4)))
        kernel = (box[0], tuple(0.6 * s for s in box[1]), box[2])
        shape = np.rint(cv2.boxPoints(kernel) / 2).astype(np.int32)
        cv2.fillPoly(logits, [shape], float(rng.uniform(-1, 4)))
    probability = 1 / (1 + np.exp(-cv2.GaussianBlur(logits, (3, 3), 0)))
    page = Page(f"{seed}.jpg", Path("unused"), 240, 160, tuple(annotated))
    return page, PageMap(page.name, quantize(probability), AFFINE, (240, 160))


def full_evaluation(pages: list[Page], maps: list[PageMap], setting: PostprocessConfig) -> Scores:
    """Every page detected and scored by itself, as without a sweep."""
    competition, official, iou = CLEval("competition", blank="skip"), CLEval("official"), IoU()
    for page, page_map in zip(pages, maps, strict=True):
        found = detect(
            page_map.probability,
            **setting.model_dump(),
            affine=page_map.affine,
            size=page_map.size,
        ).polygons
        truth = [word.points for word in page.words]
        texts, ignore = [w.text for w in page.words], [w.ignore for w in page.words]
        competition.add(page.name, truth, texts, ignore, found)
        official.add(page.name, truth, texts, ignore, found)
        iou.add(page.name, truth, ignore, found)
    results = competition.result(), official.result(), iou.result()
    return assemble(*results, pages=len(pages), skipped=())


SETTINGS = st.builds(
    PostprocessConfig,
    thresh=st.sampled_from([0.05, 0.2, 0.3, 0.5]),
    box_thresh=st.floats(0, 1),
    unclip=st.sampled_from(["ratio", "exact"]),
    unclip_ratio=st.floats(0, 4),
    max_candidates=st.integers(1, 12),
    min_side_px=st.sampled_from([0.0, 3.0, 6.0, 12.0]),
    shape=st.sampled_from(["quad", "polygon"]),
    score_mode=st.sampled_from(["fast", "slow"]),
    dilate=st.booleans(),
    epsilon=st.sampled_from([0.0, 0.002, 0.05]),
)


@examples(25)
@given(st.lists(SETTINGS, min_size=1, max_size=12), st.integers(0, 1000))
def test_every_swept_score_is_that_of_a_full_evaluation_to_the_bit(
    tried: list[PostprocessConfig], seed: int
):
    drawn = [drawn_page(seed), drawn_page(seed + 1, words=1), drawn_page(seed + 2, words=0)]
    pages, maps = [page for page, _ in drawn], [m for _, m in drawn]
    # Neighbours in every group: what the sweep shares must not show.
    near = [s.model_copy(update={"box_thresh": b}) for s in tried[:2] for b in (0.0, 0.4, 0.7)]
    swept = sweep(maps, pages, [*tried, *near])
    for index, setting in enumerate(swept.settings):
        assert swept.scores(index) == full_evaluation(pages, maps, setting)


def test_a_real_detector_is_swept_as_it_is_evaluated(
    trained: Path, drawn_root: Path, tmp_path: Path
):
    detector, _ = load_detector(trained, device="cpu")
    pages = read_split(drawn_root, "val").pages
    scoring, failure = collect_keeping_maps(detector, pages, tmp_path)
    stored = scoring.result()
    assert failure is None
    tried = grid(detector.postprocess, {"thresh": (0.2, 0.3), "box_thresh": (0.1, 0.5, 0.95)})
    swept = sweep(PageMaps(tmp_path), pages, tried)
    assert swept.scores(0) == stored
    assert stored.hmean > 0.5
    for index, setting in enumerate(tried):
        assert swept.scores(index) == evaluate(replace(detector, postprocess=setting), pages)


def test_a_box_threshold_above_all_scores_finds_nothing():
    page, page_map = drawn_page(3)
    swept = sweep([page_map], [page], grid(BASE, {"box_thresh": (1.0,)}))
    scores = swept.scores(1)
    assert (scores.hmean, scores.iou_hmean, scores.hmean_pooled) == (0, 0, 0)
    assert swept.scores(0).hmean > 0
    assert swept.best() == 0


def test_a_blank_page_counts_only_where_something_is_found_on_it():
    """Two pages without words: at a strict threshold nothing is found and nothing counted."""
    drawn = [drawn_page(5), drawn_page(6, words=0)]
    pages, maps = [page for page, _ in drawn], [m for _, m in drawn]
    loose, strict = grid(BASE, {"thresh": (0.05,), "box_thresh": (0.0,), "min_side_px": (0.0,)})[
        ::-1
    ]
    swept = sweep(maps, pages, [loose, strict])
    assert swept.scores(0).blank_pages == 0
    assert swept.scores(0).page_hmeans["6.jpg"] == 0
    assert swept.scores(1).blank_pages == 1
    assert list(swept.scores(1).page_hmeans) == ["5.jpg"]
    assert swept.scores(1).hmean == swept.scores(1).page_hmeans["5.jpg"]


def test_the_grid_starts_with_the_base_and_repeats_nothing():
    tried = grid(BASE, {"box_thresh": (0.4, 0.5), "shape": ("quad", "polygon")})
    assert tried[0] == BASE
    assert [(s.box_thresh, s.shape) for s in tried] == [
        (0.5, "quad"),
        (0.4, "quad"),
        (0.4, "polygon"),
        (0.5, "polygon"),
    ]


def test_a_bad_grid_names_the_key_and_the_value():
    with pytest.raises(InputError, match=r"grid\.box_thresh: .* less than or equal to 1, got 1.5"):
        grid(BASE, {"box_thresh": (0.5, 1.5)})
    with pytest.raises(InputError, match=r"grid\.box_tresh: unknown key; did you mean box_thresh"):
        grid(BASE, {"box_tresh": (0.5,)})


def test_nothing_to_sweep_is_an_error():
    page, page_map = drawn_page(0)
    with pytest.raises(InputError, match="empty grid"):
        sweep([page_map], [page], [])
    with pytest.raises(InputError, match=r"0\.jpg: there is a map of this page but no annotation"):
        sweep([page_map], [], [BASE])
    with pytest.raises(JobError, match="no probability map"):
        sweep([], [page], [BASE])


@examples(10)
@given(st.integers(0, 100))
def test_the_chosen_setting_is_hardly_worse_than_the_highest_and_fits_no_worse(seed: int):
    drawn = [drawn_page(seed + i) for i in range(3)]
    swept = sweep([m for _, m in drawn], [p for p, _ in drawn], grid(BASE, QUICK_GRID))
    every = [swept.scores(i) for i in range(len(swept.settings))]
    highest, chosen = max(every, key=lambda s: s.hmean), every[swept.best()]
    assert swept.highest == highest.hmean
    lost = [highest.page_hmeans[n] - chosen.page_hmeans[n] for n in swept.names]
    error = statistics.stdev(lost) / math.sqrt(len(lost))
    assert statistics.mean(lost) <= min(error, MOST_GIVEN) + 1e-12
    assert all(s.iou_hmean <= chosen.iou_hmean for s in every if s.hmean == highest.hmean)


def test_quick_figures_are_those_of_the_best_setting():
    page, page_map = drawn_page(7)
    figures = quick_figures(sweep([page_map], [page], around(BASE, QUICK_GRID)))
    assert figures.keys() == {
        "tuned_hmean",
        "tuned_thresh",
        "tuned_box_thresh",
    }
    swept = sweep([page_map], [page], around(BASE, QUICK_GRID))
    setting = BASE.model_copy(update=swept.tuned())
    assert full_evaluation([page], [page_map], setting).hmean == figures["tuned_hmean"]
    assert swept.tuned().keys() == {"thresh", "box_thresh", "shape", "unclip"}
    exact = quick_figures(
        sweep([page_map], [page], around(BASE.model_copy(update={"unclip": "exact"}), QUICK_GRID))
    )
    assert "tuned_unclip_ratio" not in exact


def test_what_is_no_number_is_told_beside_the_figures():
    page, page_map = drawn_page(7)
    tried = {
        "shape": ("quad", "polygon"),
        "dilate": (True,),
        "thresh": (0.3,),
        "box_thresh": (0.4,),
    }
    swept = sweep([page_map], [page], around(BASE.model_copy(update={"dilate": False}), tried))
    tuned = swept.tuned()
    assert tuned.keys() == {"shape", "dilate", "box_thresh"}
    assert tuned == {key: getattr(swept.settings[swept.best()], key) for key in tuned}
    figures = quick_figures(swept)
    assert figures.keys() == {"tuned_hmean", "tuned_box_thresh"}
    assert figures["tuned_box_thresh"] == tuned["box_thresh"]


def test_a_ratio_that_exact_growth_does_not_use_is_not_tried():
    tried = {"unclip": ("ratio", "exact"), "unclip_ratio": (1.2, 1.4), "box_thresh": (0.4, 0.6)}
    settings = around(BASE, tried)
    assert settings[0] == BASE
    assert len(grid(BASE, tried)) == 1 + 2 * 2 * 2
    exact = [s for s in settings if s.unclip == "exact"]
    assert [(s.unclip_ratio, s.box_thresh) for s in exact] == [
        (BASE.unclip_ratio, 0.4),
        (BASE.unclip_ratio, 0.6),
    ]
    assert [s for s in settings if s.unclip == "ratio"] == [
        s for s in grid(BASE, tried) if s.unclip == "ratio"
    ]


def test_the_settings_that_cost_most_are_those_that_change_regions():
    every = PostprocessConfig.model_fields.keys()
    assert every - set(CHOOSING) == {*FIND_KEYS, *GROW_KEYS}
