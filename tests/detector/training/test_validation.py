from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from detector.core.errors import JobError
from detector.data.labels.annotations import read_split
from detector.inference.detector import Detector, load_detector
from detector.inference.evaluation import evaluate
from detector.training.monitor import Monitor, curves
from detector.training.validation import Validated, choice, epoch_line, record, validate

FIGURES = {"hmean": 0.5, "iou_hmean": 0.25, "precision": 0.5, "recall": 0.5, "hmean_pooled": 0.5}
SWEPT = {"tuned_hmean": 0.75, "tuned_thresh": 0.2, "crossfit_hmean": 0.625}


@pytest.fixture
def monitor(tmp_path: Path):
    opened = Monitor(tmp_path / "events", finished=0)
    yield opened
    opened.close()


def test_a_validation_scores_and_sweeps_and_clears_its_maps_away(
    trained: Path, drawn_root: Path, tmp_path: Path, monitor: Monitor
):
    detector, _ = load_detector(trained, device="cpu")
    pages = read_split(drawn_root, "val").pages
    common = {"epoch": 1, "monitor": monitor, "workers": 0, "log": pytest.fail}
    swept = validate(detector, pages, maps=tmp_path / "maps", **common)
    plain = validate(detector, pages, maps=None, **common)
    assert not (tmp_path / "maps").exists()
    assert plain.figures == evaluate(detector, pages).metrics()
    assert plain.figures.items() < swept.figures.items()
    assert swept.figures["tuned_hmean"] >= swept.figures["hmean"]
    assert swept.figures["crossfit_hmean"] <= swept.figures["tuned_hmean"]
    assert swept.page_hmeans == plain.page_hmeans


def test_a_full_disk_costs_the_sweep_and_not_the_scores(
    trained: Path, drawn_root: Path, tmp_path: Path, monitor: Monitor, file_limit
):
    detector, _ = load_detector(trained, device="cpu")
    pages = read_split(drawn_root, "val").pages
    expected = evaluate(detector, pages).metrics()
    monitor.scalars({"a": 1.0}, 1)
    lines: list[str] = []
    with file_limit(20_000):
        found = validate(
            detector,
            pages,
            epoch=3,
            monitor=NoPictures(),  # type: ignore[arg-type]
            maps=tmp_path / "maps",
            workers=0,
            log=lines.append,
        )
    assert found.figures == expected
    assert len(lines) == 1
    assert lines[0].startswith("epoch 3: no post-processing sweep: ")
    assert not (tmp_path / "maps").exists()


TRIED = {"thresh": (0.2, 0.3), "box_thresh": (0.2, 0.5, 0.7), "shape": ("quad", "polygon")}


def choosing(detector: Detector, pages, folder: Path) -> Validated | None:
    return validate(
        detector,
        pages,
        epoch=3,
        monitor=None,
        maps=folder / "maps",
        workers=0,
        log=pytest.fail,
        tried=TRIED,
        choose=True,
    )


def test_chosen_settings_are_scored_on_pages_that_did_not_choose_them(
    trained: Path, make_dataset, tmp_path: Path
):
    """By an evaluation of single pages at each setting, the slow way."""
    detector, _ = load_detector(trained, device="cpu")
    pages = read_split(make_dataset(tmp_path, split="val", pages=3, seed=5), "val").pages
    found = choosing(detector, pages, tmp_path)
    assert found is not None
    assert found.swept is not None
    settings = found.swept.settings
    assert len(settings) == 13
    assert settings[0] == detector.postprocess

    def scores(setting, some):
        return evaluate(replace(detector, postprocess=setting), some)

    chosen = [max(settings, key=lambda s: scores(s, half).hmean) for half in (pages[2:], pages[:2])]
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
    assert best.hmean == max(scores(s, pages).hmean for s in settings)
    assert found.figures["tuned_hmean"] == best.hmean
    for key in ("hmean_pooled", "iou_hmean", "iou_precision", "iou_recall"):
        assert found.figures[key] == getattr(best, key)
    assert found.tuned.keys() == {*TRIED}
    assert chosen_of_all in settings


def test_a_full_disk_ends_a_training_that_chooses(
    trained: Path, drawn_root: Path, tmp_path: Path, file_limit
):
    detector, _ = load_detector(trained, device="cpu")
    pages = read_split(drawn_root, "val").pages
    message = (
        r"epoch 3: no settings can be chosen \(sweep\.choose\): .*cannot be kept.*free some space"
    )
    with file_limit(20_000), pytest.raises(JobError, match=message):
        choosing(detector, pages, tmp_path)
    assert not (tmp_path / "maps").exists()


def test_one_page_chooses_nothing(trained: Path, drawn_root: Path, tmp_path: Path):
    detector, _ = load_detector(trained, device="cpu")
    message = r"sweep\.choose: .*fewer than two pages with words could be read; restore"
    with pytest.raises(JobError, match=message):
        choosing(detector, read_split(drawn_root, "val").pages[:1], tmp_path)
    with pytest.raises(JobError, match=message):
        choice(None)


class NoPictures:
    """A monitor that writes nothing: only the maps may meet the limit."""

    def page(self, *_: object) -> None: ...


def test_the_best_epoch_keeps_its_own_figures():
    metrics: dict[str, float] = {"loss/total": 3.0}
    assert record(metrics, Validated(FIGURES | SWEPT, {}), 1)
    assert metrics["best_tuned_hmean"] == 0.75
    worse = FIGURES | {"hmean": 0.25}
    assert not record(metrics, Validated(worse | {"tuned_hmean": 0.3}, {}), 2)
    assert (metrics["hmean"], metrics["best_hmean"], metrics["best_epoch"]) == (0.25, 0.5, 1)
    assert (metrics["tuned_hmean"], metrics["best_tuned_hmean"]) == (0.3, 0.75)
    assert "tuned_thresh" not in metrics
    better = FIGURES | {"hmean": 0.625}
    assert record(metrics, Validated(better, {}), 3)
    assert not [name for name in metrics if "tuned" in name or "crossfit" in name]
    assert metrics["loss/total"] == 3.0


def test_curves_and_lines_tell_what_there_is():
    metrics = FIGURES | {"loss/total": 1.5, "lr": 0.1, "seconds": 61.0, "best_hmean": 0.5}
    metrics |= {"skipped": 0}
    assert "sweep/tuned_hmean" not in curves(metrics)
    shown = curves(metrics | SWEPT)
    assert (shown["sweep/tuned_hmean"], shown["sweep/crossfit_hmean"]) == (0.75, 0.625)
    assert shown["iou/hmean"] == 0.25
    line = epoch_line(metrics | SWEPT, 2, 5, Validated(FIGURES, {}))
    assert line == (
        "epoch 2/5  loss 1.500  H-mean 0.5000  IoU H-mean 0.2500  tuned 0.7500  best 0.5000  61 s"
    )
    line = epoch_line(
        metrics | SWEPT | {"configured_hmean": 0.4}, 2, 5, Validated({"configured_hmean": 0.4}, {})
    )
    assert "IoU H-mean 0.2500  configured 0.4000  tuned 0.7500  best" in line
    assert curves(metrics | {"configured_hmean": 0.4})["sweep/configured_hmean"] == 0.4
    assert epoch_line(metrics, 2, 5, None) == "epoch 2/5  loss 1.500  61 s"
    line = epoch_line(metrics | {"skipped": 2}, 2, 5, None)
    assert line == "epoch 2/5  loss 1.500  skipped pages: 2  61 s"
    assert curves(metrics | {"skipped": 2})["train/skipped"] == 2
