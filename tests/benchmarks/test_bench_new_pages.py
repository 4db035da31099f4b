"""The replay of what is said of new pages: its table, its two kinds of search, its figures."""

from __future__ import annotations

import json
from pathlib import Path

import bench_new_pages
import numpy as np
import pytest
import record_pages

from detector.config.settings import PostprocessConfig, TrainConfig, with_values
from detector.core.errors import InputError
from detector.postprocess.sweep_scores import SweepScores

POINTS = record_pages.POINTS["weights"]
SETTINGS = tuple(PostprocessConfig(box_thresh=value) for value in (0.3, 0.5))


def recorded(hmeans: np.ndarray) -> SweepScores:
    """A sweep with these `(S, P)` H-means, and boxes that all fit."""
    scores = np.zeros((*hmeans.shape, 3))
    scores[:, :, 2] = hmeans
    overlap = np.full((*hmeans.shape, 4), (3, 5, 4, 0), np.int32)
    names = tuple(f"{i}.jpg" for i in range(hmeans.shape[1]))
    return SweepScores(SETTINGS, names, scores, np.zeros((len(SETTINGS), 1), np.int64), overlap)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two trainings at two settings on eight pages, of which the second setting suits the first."""
    rng = np.random.default_rng(0)
    low = np.array([[0.5], [0.8]]) + rng.uniform(0, 0.1, (2, 8))
    high = np.array([[0.7], [0.6]]) + rng.uniform(0, 0.1, (2, 8))
    done = [record_pages.tables(recorded(hmeans)) for hmeans in (low, high)]
    record_pages.write(tmp_path / "pages.npz", done, {"train_pages": 60}, POINTS)
    return tmp_path / "pages.npz"


def test_what_was_recorded_is_read_back(path: Path) -> None:
    table = bench_new_pages.read_pages(path)
    assert table.settings == SETTINGS
    assert table.hmeans.shape == (2, 2, 8)
    assert 0.8 < table.hmeans[0, 1].mean() < 0.9
    assert 0.7 < table.hmeans[1, 0].mean() < 0.8
    assert table.overlap[1, 1, 7].tolist() == [3, 5, 4, 0]
    with np.load(path) as file:
        assert json.loads(str(file["about"])) == {"train_pages": 60}


def test_scores_are_kept_to_a_level(path: Path) -> None:
    hmeans = np.array([[0.0, 1.0, 1 / 3], [1.0, 0.0, 2 / 3]])
    record_pages.write(path, [record_pages.tables(recorded(hmeans))], {}, POINTS)
    read = bench_new_pages.read_pages(path).hmeans[0]
    np.testing.assert_allclose(read, hmeans, atol=0.5 / 65535)


def test_a_nested_trial_ships_the_setting_that_its_validation_pages_choose(path: Path) -> None:
    table = bench_new_pages.read_pages(path)
    trials = list(bench_new_pages.nested(table, np.arange(4)))
    assert [(training, setting) for _, training, setting in trials] == [(0, 1), (1, 0)]
    for record, training, setting in trials:
        # Both halves choose alike, so that the cross-fitted scores are those of that setting.
        assert record.page_hmeans == pytest.approx(table.hmeans[training, setting, :4])


def test_joint_trials_are_drawn_without_coming_twice(path: Path) -> None:
    table = bench_new_pages.read_pages(path)
    rng = np.random.default_rng(0)
    trials = list(bench_new_pages.joint(table, np.arange(4), 9, rng))
    assert sorted((training, setting) for _, training, setting in trials) == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    for record, training, setting in trials:
        assert record.page_hmeans == tuple(table.hmeans[training, setting, :4])
        assert record.hmean == pytest.approx(table.hmeans[training, setting, :4].mean())


def test_what_was_said_is_held_against_what_came() -> None:
    later = np.array([0.8, 0.6, 0.1])  # the new set has 0.7, all that came 0.5
    assert bench_new_pages.said(0.75, 0.65, 0.8, later, 2) == pytest.approx((0.25, 0.15, True))
    assert bench_new_pages.said(0.75, 0.72, 0.8, later, 2) == pytest.approx((0.25, 0.08, False))


@pytest.mark.parametrize("kind", ["nested", "joint"])
def test_a_replay_says_less_than_the_winner_seems(path: Path, kind: str) -> None:
    table = bench_new_pages.read_pages(path)
    options = {"val_pages": 4, "trials": 4}
    both = [bench_new_pages.replay(table, kind, options, seed) for seed in range(5)]
    assert both == [bench_new_pages.replay(table, kind, options, seed) for seed in range(5)]
    assert all(ours.error <= naive.error for naive, ours in both)
    assert all(ours.width > naive.width for naive, ours in both)


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pages.npz does not exist; record_pages.py makes one"):
        bench_new_pages.read_pages(tmp_path / "pages.npz")
    (tmp_path / "pages.npz").write_text("no")
    with pytest.raises(InputError, match=r"pages.npz is no table of record_pages.py"):
        bench_new_pages.read_pages(tmp_path / "pages.npz")


def test_receipts_are_dealt_so_that_no_page_is_in_both_splits(tmp_path: Path) -> None:
    data = tmp_path / "receipts"
    (data / "jsons").mkdir(parents=True)
    for split, count in (("train", 10), ("val", 3)):
        pages = {f"{split}{i}.jpg": {"words": {}} for i in range(count)}
        (data / f"jsons/{split}.json").write_text(json.dumps({"images": pages}))
    root = record_pages.dealt(data, tmp_path / "folder", train_pages=4, other_pages=2)
    train, val = (
        json.loads((root / f"jsons/{split}.json").read_text())["images"]
        for split in ("train", "val")
    )
    assert len(train) == 4
    assert len(val) == 5
    assert not train.keys() & val.keys()
    assert {"val0.jpg", "val1.jpg", "val2.jpg"} <= val.keys()
    assert (root / "images/val/val1.jpg").readlink() == data / "images/val/val1.jpg"


def test_a_folder_without_labels_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data: .*jsons/train.json is missing"):
        record_pages.dealt(tmp_path, tmp_path / "folder", train_pages=4, other_pages=2)


@pytest.mark.parametrize("start", sorted(record_pages.POINTS))
def test_each_training_differs_from_the_others_and_may_be(start: str) -> None:
    points = record_pages.POINTS[start]
    assert len({json.dumps(point) for point in points}) == len(points) >= 8
    configs = [with_values(TrainConfig(), point) for point in points]
    assert {config.train.init for config in configs} == {
        "none" if start == "weights" else "ppocrv6_small"
    }


def test_a_start_that_there_is_not_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    options = record_pages.DEFAULTS | {"data": str(tmp_path), "start": "scratch"}
    with pytest.raises(InputError, match="start: one of weights, ppocr, got 'scratch'"):
        record_pages.main(options)
