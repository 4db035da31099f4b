"""The table of trainings, the yardstick and the statistics, by hand and by other formulas."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import record_one
import replay
from hypothesis import given
from hypothesis import strategies as st

from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError
from detector.postprocess.sweep_scores import SweepScores
from orchestrator.space.parameters import Parameter

CONFIGS = [{"lr": 0.1}, {"lr": 0.2}]
SETTINGS = [{"thresh": 0.2}, {"thresh": 0.3}]
# Per training, epoch and half, in 1/65535: one epoch each, two settings.
LEVELS = np.array([[[[40, 60], [30, 20]]], [[[50, 10], [70, 10]]]]) * 655


@pytest.fixture
def table(tmp_path, write_table):
    return replay.read_table(write_table(tmp_path / "t.npz", CONFIGS, SETTINGS, LEVELS))


def test_a_table_gives_what_was_recorded(table):
    unit = 655 / 65535
    assert (table.configs, table.settings) == (tuple(CONFIGS), tuple(SETTINGS))
    assert (table.epochs, table.about) == (1, {"val_pages": 4})
    np.testing.assert_allclose(table.whole, np.array([[[35, 40]], [[60, 10]]]) * unit)
    np.testing.assert_allclose(table.shipped, np.array([[40], [60]]) * unit)
    # The first training: half one chooses setting 1, which has 20 on half two; half two chooses
    # setting 0, which has 40 on half one. The second: both choose setting 0.
    np.testing.assert_allclose(table.crossfit, np.array([[30], [60]]) * unit)
    assert table.best == pytest.approx(60 * unit)
    assert table.target == pytest.approx(60 * unit - 0.002)
    assert replace(table, margin=0.01).target == pytest.approx(60 * unit - 0.01)


def test_facts_say_how_hard_a_table_is(tmp_path, write_table):
    # 0.002 is 131 levels; the first training comes that near in its first epoch only.
    levels = [
        [[[30000, 39900], [30000, 39900]], [[100, 100], [100, 100]]],
        [[[40000, 39869], [40000, 39868]], [[0, 0], [0, 0]]],
    ]
    facts = replay.read_table(write_table(tmp_path / "t.npz", CONFIGS, SETTINGS, levels)).facts()
    assert facts == {
        "configs": 2,
        "epochs": 2,
        "settings": 2,
        "best": 40000 / 65535,
        "configs_within": 2,
        "pairs_within": 0.5,
        "crossfit_ships": 40000 / 65535,
    }


@pytest.mark.parametrize("seed", range(5))
def test_the_cross_fitted_score_is_the_detectors(tmp_path, write_table, seed):
    # Boxes fit alike at all settings, so that the H-mean decides between those that are left.
    # H-means of eight pages, in steps that sum exactly, so that equal means are equal.
    pages = np.random.default_rng(seed).integers(0, 65, (6, 8, 1)) / 64
    settings = tuple(PostprocessConfig(box_thresh=i / 10) for i in range(6))
    swept = SweepScores(
        settings,
        tuple(f"{i}.jpg" for i in range(8)),
        np.repeat(pages, 3, axis=2),
        np.zeros((6, 1), np.int64),
        np.zeros((6, 8, 4), np.int32),
    )
    levels = record_one.halves(swept)[None, None]
    names = [{"box_thresh": s.box_thresh} for s in settings]
    found = replay.read_table(write_table(tmp_path / "t.npz", CONFIGS[:1], names, levels))
    fitted = swept.cross_fit()
    assert fitted is not None
    assert found.crossfit[0, 0] == pytest.approx(fitted.hmean, abs=1 / 65535)
    np.testing.assert_allclose(found.whole[0, 0], pages[:, :, 0].mean(axis=1), atol=1 / 65535)


def test_axes_are_the_values_in_order():
    points = [{"lr": 2, "neck": "b"}, {"lr": 1, "neck": "b"}, {"lr": 2, "neck": "a"}]
    assert replay.axes(points) == {"lr": (2, 1), "neck": ("b", "a")}


DRAWN = [
    {"net": "a", "lr": 0.001, "weight": 1.0},
    {"net": "a", "lr": 0.004, "weight": 1.0},
    {"net": "a", "lr": 0.002, "weight": 4.0},
    {"net": "b", "lr": 0.002, "weight": 1.0},
]
RANGES = {"lr": {"log_uniform": [0.001, 0.004]}, "weight": {"uniform": [1.0, 4.0]}}


@pytest.fixture
def drawn(tmp_path):
    """Four trainings at points from ranges, the third one with another seed of the second point."""
    points = [*DRAWN[:2], DRAWN[1], *DRAWN[2:]]
    np.savez(
        tmp_path / "drawn.npz",
        configs=np.array(json.dumps(points)),
        settings=np.array(json.dumps(SETTINGS)),
        about=np.array("{}"),
        ranges=np.array(json.dumps(RANGES)),
        seeds=np.array([0, 0, 1, 0, 0], np.uint8),
        hmeans=np.arange(5)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint16) * 1000,
    )
    return replay.read_table(tmp_path / "drawn.npz")


def test_a_drawn_table_has_ranges_and_the_first_seed_of_each_point(drawn):
    assert list(drawn.configs) == DRAWN
    np.testing.assert_allclose(drawn.shipped[:, 0] * 65535, [0, 1000, 3000, 4000])
    assert drawn.space == (
        Parameter("net", "choice", ("a", "b")),
        Parameter("lr", "log_uniform", (0.001, 0.004)),
        Parameter("weight", "uniform", (1.0, 4.0)),
    )


def test_a_proposal_stands_for_the_nearest_training_that_is_left(drawn):
    point, stand_ins = {"net": "a", "lr": 0.0015, "weight": 1.5}, drawn.stand_ins()
    # In octaves: sqrt(0.585² + 0.585²) to the first, sqrt(1.415² + 0.585²) to the second, and
    # sqrt(0.415² + 1.415²) to the third.
    order = [stand_ins.row(point) for _ in range(3)]
    assert order == [0, 2, 1]
    # Then one with another choice; when there is none left, the nearest is had again.
    assert [stand_ins.row(point) for _ in range(2)] == [3, 0]
    other = {"net": "b", "lr": 0.001, "weight": 4.0}
    assert drawn.stand_ins().row(other) == 3
    assert drawn.stand_ins().of(other | {"thresh": 0.3}) == {**DRAWN[3], "thresh": 0.3}


def test_in_seconds_an_epoch_counts_by_what_it_took_over_the_mean(drawn, tmp_path):
    with np.load(tmp_path / "drawn.npz") as file:
        arrays = dict(file)
    # Of all epochs so far: 2 and 4 seconds, 4 and 8, another seed, 6 and none behind a break, 3, 3.
    seconds = np.array([[2, 6], [4, 12], [90, 99], [6, 6], [3, 6]], np.float32)
    arrays |= {"seconds": seconds, "hmeans": np.repeat(arrays["hmeans"], 2, axis=1)}
    np.savez(tmp_path / "two.npz", **arrays)
    found = replay.read_table(tmp_path / "two.npz", "seconds")
    mean = 30 / 7
    expected = np.array([[2, 4], [4, 8], [6, 0], [3, 3]]) / mean
    got = [[found.cost(row, index) for index in range(2)] for row in range(4)]
    np.testing.assert_allclose(got, expected)
    assert [replay.read_table(tmp_path / "two.npz").cost(1, 1), drawn.cost(0, 0)] == [1, 1]
    np.savez(tmp_path / "none.npz", **(arrays | {"seconds": np.zeros((5, 2))}))
    with pytest.raises(InputError, match="took no time"):
        replay.read_table(tmp_path / "none.npz", "seconds")


def test_in_a_grid_a_point_is_its_own_row_however_often(table):
    stand_ins = table.stand_ins()
    assert [stand_ins.row({"lr": 0.2}) for _ in range(3)] == [1, 1, 1]


def broken(path, **changes):
    arrays = {
        "configs": np.array(json.dumps(CONFIGS)),
        "settings": np.array(json.dumps(SETTINGS)),
        "about": np.array("{}"),
        "hmeans": LEVELS.astype(np.uint16),
    }
    np.savez(path, **{k: v for k, v in (arrays | changes).items() if v is not None})


SQUARE = [{"lr": lr, "neck": neck} for lr in (1, 2) for neck in (3, 4)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": None}, "is no table of record_trainings.py"),
        ({"configs": np.array("[{")}, "is no table of record_trainings.py"),
        ({"ranges": np.array('{"lr": {"gauss": [0, 1]}}')}, "is no table of record_trainings.py"),
        (
            {"hmeans": LEVELS[:1]},
            r"hmeans must be \(configs, epochs, 2, settings\), got \(1, 1, 2, 2\) for 2 configs",
        ),
        ({"hmeans": LEVELS[..., :1, :]}, r"got \(2, 1, 1, 2\) for 2 configs and 2 settings"),
        ({"hmeans": LEVELS[..., :1]}, r"got \(2, 1, 2, 1\) for 2 configs and 2 settings"),
        (
            {"configs": np.array(json.dumps(SQUARE[:3])), "hmeans": np.zeros((3, 1, 2, 2))},
            "must hold every combination of its values once, got 3 trainings with 1 combinations",
        ),
        (
            {"configs": np.array(json.dumps([CONFIGS[0]] * 2))},
            "must hold every combination of its values once, got 2 trainings with 0 combinations",
        ),
        (
            {"settings": np.array(json.dumps([SETTINGS[0]] * 2))},
            "must hold every combination of its values once, got 2 settings with 0 combinations",
        ),
    ],
)
def test_what_is_no_whole_table_is_refused(tmp_path, changes, message):
    broken(tmp_path / "t.npz", **changes)
    with pytest.raises(InputError, match=message):
        replay.read_table(tmp_path / "t.npz")


def test_a_file_that_is_not_there_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.npz does not exist; record_trainings\.py makes"):
        replay.read_table(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no table")
    with pytest.raises(InputError, match="is no table of record_trainings"):
        replay.read_table(tmp_path / "text.npz")


def heard(yardstick, *pairs):
    for score, worth in pairs:
        yardstick.add(replay.Arrival(score, worth))
    return yardstick


def test_the_incumbent_has_the_best_score_told_and_counts_by_its_worth():
    yardstick = heard(replay.Yardstick(0.75, cap=100), (0.5, 0.6), (0.4, 0.9), (0.5, 0.9))
    # The second is worth more, but the search was told less; the third came after its equal.
    assert yardstick.worths == [0.6, 0.6, 0.6]
    assert not yardstick.reached
    assert not yardstick.over
    heard(yardstick, (0.7, 0.55), (0.8, 0.75))
    assert yardstick.worths[3:] == [0.55, 0.75]
    assert yardstick.reached
    assert yardstick.over


def test_a_search_is_over_at_the_cap():
    yardstick = heard(replay.Yardstick(0.75, cap=2), (0.1, 0.1))
    assert not yardstick.over
    heard(yardstick, (0.2, 0.2))
    assert yardstick.over
    assert not yardstick.reached


def test_epochs_that_count_unlike_are_counted_by_what_they_cost():
    yardstick = replay.Yardstick(2.0, cap=20)
    for cost, worth in ((4.0, 0.1), (5.5, 0.2), (0.5, 0.3), (10.0, 0.4)):
        assert not yardstick.over
        yardstick.add(replay.Arrival(worth, worth, cost))
    assert yardstick.spent == 20
    assert yardstick.over
    # After 10 the first three are over, just.
    assert yardstick.curve() == [0.3, 0.4, 0.4, 0.4, 0.4, 0.4]


def test_nothing_is_shipped_before_the_first_epoch_is_over():
    yardstick = replay.Yardstick(2.0, cap=100)
    yardstick.add(replay.Arrival(0.5, 0.5, 15.0))
    assert yardstick.curve() == [None, 0.5, 0.5, 0.5, 0.5, 0.5]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=400))
def test_a_score_that_is_the_worth_gives_the_running_maximum(values):
    yardstick = heard(replay.Yardstick(2.0, cap=1000), *zip(values, values, strict=True))
    expected = np.maximum.accumulate(values).tolist()
    assert yardstick.worths == expected
    assert yardstick.curve() == [
        expected[n - 1] if n <= len(values) else expected[-1] for n in replay.CURVE_EPOCHS
    ]


def test_a_search_that_heard_nothing_has_no_curve():
    assert replay.Yardstick(0.5, cap=1).curve() == [None] * len(replay.CURVE_EPOCHS)


def test_spread_is_minimum_quartiles_and_maximum():
    assert replay.spread([5, 1, 3, 2, 4]) == [1, 2, 3, 4, 5]
    assert replay.spread([7]) == [7] * 5


def test_ratios_of_medians_and_means():
    found = replay.ratios([2, 2, 20], [10, 40, 70])
    assert found["medians"].value == pytest.approx(2 / 40)
    assert found["means"].value == pytest.approx(8 / 40)
    for ratio in found.values():
        assert ratio.low < ratio.value < ratio.high
    # Any resample of the two lies between their extremes.
    assert found["means"].low >= 2 / 70
    assert found["means"].high <= 20 / 10


def test_searches_that_never_vary_have_an_interval_without_width():
    assert replay.ratios([3, 3], [12, 12, 12]) == {
        "medians": replay.Ratio(0.25, 0.25, 0.25),
        "means": replay.Ratio(0.25, 0.25, 0.25),
    }
    assert str(replay.Ratio(0.25, 0.2, 1 / 3)) == "0.250 (0.200 to 0.333)"
