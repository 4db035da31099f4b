from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.config.settings import PostprocessConfig
from detector.core.errors import JobError
from detector.data.labels.annotations import read_split
from detector.data.labels.pages import Page
from detector.inference.detector import Detector, load_detector
from detector.inference.evaluation import evaluate
from detector.postprocess.edges import edges, further
from detector.postprocess.sweep import QUICK_GRID
from detector.training.validation.figures import Validated, validated
from detector.training.validation.processes import PageScorer, ScoringProcesses
from detector.training.validation.validate import begin, settings_to_score, validate


def test_a_validation_scores_as_an_evaluation_and_sweeps(trained: Path, drawn_root: Path):
    detector, _ = load_detector(trained, device="cpu")
    pages = read_split(drawn_root, "val").pages
    swept = validate(detector, pages, workers=0, tried=QUICK_GRID)
    plain = validate(detector, pages, workers=0)
    assert plain.figures == evaluate(detector, pages).metrics()
    assert plain.swept is None
    assert plain.figures.items() < swept.figures.items()
    chosen = swept.swept.settings[swept.swept.best()]
    assert swept.figures["tuned_hmean"] == swept.swept.scores(swept.swept.best()).hmean
    assert swept.tuned == {key: getattr(chosen, key) for key in swept.tuned}
    assert swept.edges == edges(swept.swept.settings, chosen)
    assert swept.page_hmeans == plain.page_hmeans == evaluate(detector, pages).page_hmeans
    assert [shown.page for shown in swept.told.shown] == list(pages[:2])
    for shown in swept.told.shown:
        found = detector.locate(shown.page_map)
        np.testing.assert_array_equal(shown.found.scores, found.scores)


def test_the_configured_regions_are_tried_at_every_choice_among_them():
    """Its thresh is none of those that are tried."""
    base = PostprocessConfig(thresh=0.33, box_thresh=0.5)
    assert settings_to_score(base, None) == (base,)
    settings = settings_to_score(base, QUICK_GRID)
    own = [s.box_thresh for s in settings if s.thresh == base.thresh]
    assert own[0] == 0.5
    assert sorted(own) == list(QUICK_GRID["box_thresh"])
    assert {s.model_copy(update={"box_thresh": 0.5}) for s in settings[: len(own)]} == {base}


def scored(detector: Detector, pages: Sequence[Page], count: int) -> Validated:
    """The second of two validations, which tries further settings than the first one."""
    settings = settings_to_score(detector.postprocess, QUICK_GRID)
    more = further(detector.postprocess, QUICK_GRID, {"thresh": 0.1}, {"thresh"})
    processes = ScoringProcesses(PageScorer(pages, settings), count)
    try:
        assert begin(detector, processes, workers=0).settings == settings
        pending = begin(detector, processes, workers=0, further=more)
        assert pending.settings == (*settings, *more)
        return validated(pending.settings, [pending.part()], choose=False)
    finally:
        processes.close()


def test_other_processes_find_what_this_one_does(trained: Path, make_dataset, tmp_path: Path):
    detector, _ = load_detector(trained, device="cpu")
    root = make_dataset(tmp_path, split="val", pages=5, seed=5)
    pages = read_split(root, "val").pages
    pages[3].path.write_bytes(b"torn")
    one, several = scored(detector, pages, 0), scored(detector, pages, 2)
    assert one.figures == several.figures
    assert one.page_hmeans == several.page_hmeans
    assert one.tuned == several.tuned
    assert {setting.thresh for setting in one.swept.settings} >= {0.05, 0.1}
    assert one.told.skipped == several.told.skipped
    assert pages[3].name in one.told.skipped[0]
    for here, there in zip(one.told.shown, several.told.shown, strict=True):
        assert here.page.name == there.page.name
        np.testing.assert_array_equal(here.page_map.probability, there.page_map.probability)
        for polygon, other in zip(here.found.polygons, there.found.polygons, strict=True):
            np.testing.assert_array_equal(polygon, other)


def test_a_split_that_cannot_be_read_is_no_validation(trained: Path, drawn_root: Path, tmp_path):
    detector, _ = load_detector(trained, device="cpu")
    (page, *_) = read_split(drawn_root, "val").pages
    gone = replace(page, path=tmp_path / "gone.jpg")
    with pytest.raises(JobError, match=r"no page of the split could be read:\n.*gone\.jpg"):
        validate(detector, [gone], workers=0)


TRIED = {"thresh": (0.2, 0.3), "box_thresh": (0.2, 0.5, 0.7), "shape": ("quad", "polygon")}


def choosing(detector: Detector, pages) -> Validated:
    return validate(detector, pages, workers=0, tried=TRIED, choose=True)


def test_chosen_settings_are_scored_on_pages_that_did_not_choose_them(
    trained: Path, make_dataset, tmp_path: Path
):
    """By an evaluation of single pages at each setting, the slow way."""
    detector, _ = load_detector(trained, device="cpu")
    pages = read_split(make_dataset(tmp_path, split="val", pages=3, seed=5), "val").pages
    found = choosing(detector, pages)
    assert found.swept is not None
    settings = found.swept.settings
    assert len(settings) == 13
    assert settings[0] == detector.postprocess

    def scores(setting, some):
        return evaluate(replace(detector, postprocess=setting), some)

    def choice(some):
        """With two pages: within half of the difference between their losses."""
        best = max(settings, key=lambda s: scores(s, some).hmean)
        of_best = scores(best, some)

        def alike(setting) -> bool:
            of_this = scores(setting, some)
            lost = [of_best.page_hmeans[p.name] - of_this.page_hmeans[p.name] for p in some]
            error = statistics.stdev(lost) / len(lost) ** 0.5 if len(lost) > 1 else 0.0
            given = min(error, 0.005)  # no more, however few pages there are
            return of_this.hmean == of_best.hmean or statistics.mean(lost) <= given

        able = [s for s in settings if alike(s)]
        return max(able, key=lambda s: (scores(s, some).iou_hmean, scores(s, some).hmean))

    chosen = [choice(half) for half in (pages[2:], pages[:2])]
    unseen = [
        scores(chosen[0], pages[:1]),
        scores(chosen[0], pages[1:2]),
        scores(chosen[1], pages[2:]),
    ]
    for key in ("hmean", "precision", "recall"):
        mean = sum(getattr(one, key) for one in unseen) / 3
        assert found.figures[key] == pytest.approx(mean, abs=1e-12)
    assert found.page_hmeans == {p.name: s.hmean for p, s in zip(pages, unseen, strict=True)}
    assert found.figures["crossfit_hmean"] == found.figures["hmean"]
    assert found.figures["configured_hmean"] == scores(settings[0], pages).hmean
    chosen_of_all = settings[0].model_copy(update=found.tuned)
    best = scores(chosen_of_all, pages)
    assert chosen_of_all == choice(pages)
    assert found.figures["tuned_hmean"] == best.hmean
    for key in ("hmean_pooled", "iou_hmean", "iou_precision", "iou_recall"):
        assert found.figures[key] == getattr(best, key)
    assert found.tuned.keys() == {*TRIED}
    assert chosen_of_all in settings


def test_one_page_chooses_nothing(trained: Path, drawn_root: Path):
    detector, _ = load_detector(trained, device="cpu")
    message = r"sweep\.choose: .*fewer than two pages with words could be read; restore"
    with pytest.raises(JobError, match=message):
        choosing(detector, read_split(drawn_root, "val").pages[:1])
