"""The recorder: what it keeps of an epoch, what it goes on from, and the file it gathers."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import record_one
import record_trainings
import replay
import timing
import torch
from recorded_points import PLANS, TRIED

from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError, JobError
from detector.data.synthetic.receipts import synthesize
from detector.postprocess.sweep_scores import SweepScores, second_half
from detector.training.epoch import _require_finite

LEVELS = record_one.PAGE_LEVELS
PAGES = {"val": [], "heldout": []}


def swept(hmeans):
    """Scores of `(S, P)` H-means; boxes fit alike everywhere."""
    hmeans = np.asarray(hmeans, float)
    settings = tuple(PostprocessConfig(box_thresh=0.1 * (i + 1)) for i in range(len(hmeans)))
    return SweepScores(
        settings,
        tuple(f"{i}.jpg" for i in range(hmeans.shape[1])),
        np.repeat(hmeans[:, :, None], 3, axis=2),
        np.zeros((len(hmeans), 1), np.int64),
        np.zeros((*hmeans.shape, 4), np.int32),
    )


def test_choices_are_those_of_all_pages_of_the_first_half_and_of_the_second():
    second = second_half(4)
    hmeans = np.zeros((3, 4))
    hmeans[0, ~second], hmeans[1, second], hmeans[2] = 1.0, 1.0, 0.8
    # Half of the pages are right at the first two settings, all nearly so at the third.
    assert record_one.chosen(swept(hmeans)) == [2, 0, 1]


def test_page_levels_tell_blank_pages_from_all_others():
    levels = record_one.page_levels(np.array([0.0, 0.5, 1.0, np.nan]))
    assert levels.tolist() == [0, LEVELS // 2, LEVELS, record_one.BLANK]
    assert levels.dtype == np.uint16


def gathered(folder, output):
    """The first two trainings of the grid, as if they had been recorded; their files."""
    plan, files = PLANS["grid"], {}
    for index in (0, 1):
        row = {
            "hmeans": np.full((2, 165), 1000 * (index + 1), np.uint16),
            "choices": np.zeros(3, np.uint16),
            "pages": np.zeros((3, 20), np.uint16),
            "heldout": np.zeros((3, 0), np.uint16),
            "scores": np.float32(0.5),
            "shipped": np.uint8(1),
            "seconds": np.float32(9),
        }
        files[index] = folder / f"{index}.npz"
        epochs = {key: np.stack([value] * plan.epochs) for key, value in row.items()}
        np.savez(files[index], failed=np.uint8(plan.epochs), **epochs)
    record_trainings.gather(files, plan, output, PAGES)
    return files


def test_what_is_gathered_can_be_read(tmp_path):
    gathered(tmp_path, tmp_path / "t.npz")
    plan = PLANS["grid"]
    # Two of 40 are no whole grid, but a table of their own choices.
    found = replay.read_table(tmp_path / "t.npz")
    assert list(found.configs) == [task.point for task in plan.tasks[:2]]
    assert {len(axis) for axis in replay.axes(found.settings).values()} == {3, 5, 11}
    assert found.best == 2000 / 65535


def test_a_recording_goes_on_from_its_output_alone(tmp_path):
    files, plan = gathered(tmp_path, tmp_path / "t.npz"), PLANS["grid"]
    there = tmp_path / "another machine"
    assert record_trainings.take_up(tmp_path / "t.npz", "grid", there, PAGES) == 2
    assert record_trainings.complete(there, plan, "grid").keys() == files.keys()
    for index, file in files.items():
        place = record_trainings.place_of(there, "grid", index, plan.tasks[index])
        one = record_one.record(None, place, [])  # it is done, so nothing is trained
        with np.load(one) as now, np.load(file) as before:
            assert now.keys() == before.keys()
            assert all(np.array_equal(now[key], before[key]) for key in before)
    assert record_trainings.take_up(tmp_path / "none.npz", "grid", there, PAGES) == 0


@pytest.mark.parametrize(
    ("plan", "pages"), [("drawn", {}), ("grid", {"val": ["a.jpg"], "heldout": []})]
)
def test_an_output_of_another_plan_or_of_other_pages_is_not_gone_on_with(tmp_path, plan, pages):
    gathered(tmp_path, tmp_path / "t.npz")
    with pytest.raises(InputError, match=rf"^output: .*holds no trainings of plan={plan} on these"):
        record_trainings.take_up(tmp_path / "t.npz", plan, tmp_path, PAGES | pages)


@pytest.fixture(scope="module")
def receipts(tmp_path_factory):
    return synthesize(tmp_path_factory.mktemp("data") / "r", images=7, val_images=6, seed=0)


def test_held_out_pages_are_in_neither_the_training_nor_the_validation(receipts):
    pages = record_one.heldout_pages(receipts, train=4, val=4, count=4)
    splits = [("train", 4), ("val", 4)]
    used = {
        page.path
        for split, limit in splits
        for page in record_trainings.read_split(receipts, split, limit=limit).pages
    }
    assert len({page.path for page in pages} - used) == 4
    assert {page.name.split("/")[0] for page in pages} == {"train", "val"}
    with pytest.raises(InputError, match="has 5 pages beside 4 and 4, got 6"):
        record_one.heldout_pages(receipts, train=4, val=4, count=6)


@pytest.fixture
def config(receipts, tmp_path):
    plan = replace(PLANS["tiny"], epochs=3)
    return record_trainings.settings_of(plan, receipts, tmp_path / "cache")[0]


def test_a_training_that_was_cut_off_anywhere_gives_what_a_whole_one_gives(
    receipts, config, tmp_path, monkeypatch
):
    pages = record_one.heldout_pages(receipts, train=4, val=4, count=3)
    with np.load(record_one.record(config, tmp_path / "whole", pages)) as file:
        whole = dict(file)
    save = record_one.save
    for epoch, is_kept in ((2, False), (3, True)):
        # Killed before the scores of an epoch are kept, and then right after those of another.
        def killed(path, arrays, name=f"epoch-{epoch}.npz", is_kept=is_kept):
            if path.name != name or is_kept:
                save(path, arrays)
            if path.name == name:
                raise KeyboardInterrupt

        monkeypatch.setattr(record_one, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            record_one.record(config, tmp_path / "cut", pages)
    monkeypatch.setattr(record_one, "save", save)
    with np.load(record_one.record(config, tmp_path / "cut", pages)) as file:
        for key in {*record_one.ARRAYS, "failed"} - {"seconds"}:
            np.testing.assert_array_equal(file[key], whole[key], err_msg=key)
    assert whole["pages"].shape == (3, 3, 4)
    assert whole["heldout"].shape == (3, 3, 3)
    assert whole["hmeans"].shape == (3, 2, 165)
    assert (np.diff(whole["seconds"]) > 0).all()
    # What only a resume needs is gone.
    assert not (tmp_path / "cut" / "checkpoint").exists()


def test_a_training_that_breaks_down_scores_nothing_from_there_on(config, tmp_path, monkeypatch):
    message = record_one.NOT_FINITE

    def train(*_, **__):
        raise JobError(f"{message} at step 3")

    monkeypatch.setattr(record_one, "train", train)
    done = record_one.record(config, tmp_path / "one", [])
    with np.load(done) as file:
        assert int(file["failed"]) == 0
        assert file["hmeans"].shape == (3, 2, 165)
        assert not file["hmeans"].any()
        assert file["shipped"].tolist() == [1, 1, 1]
    assert (tmp_path / "one" / "failed.txt").read_text() == f"{message} at step 3\n"
    # Any other fault is no result.
    message = "no page could be read"
    with pytest.raises(JobError, match=message):
        record_one.record(config, tmp_path / "two", [])


def test_the_message_of_a_loss_that_is_not_finite_is_known():
    state = SimpleNamespace(step=3)
    with pytest.raises(JobError, match=record_one.NOT_FINITE):
        _require_finite(torch.tensor([1.0, float("nan")]), state)


def test_a_dry_run_says_what_a_plan_costs_and_does_nothing(tmp_path, capsys):
    options = [f"folder={tmp_path}/r", "plan=drawn", "dry=true"]
    record_trainings.main(timing.options(options, record_trainings.DEFAULTS))
    said = capsys.readouterr().out
    assert said.startswith("140 trainings of 12 epochs: about ")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("plan=large", "plan: must be one of grid, drawn, tiny, got 'large'"),
        ("dry=yes", "dry: must be true or left out, got 'yes'"),
    ],
)
def test_a_wrong_option_is_named(option, message):
    with pytest.raises(InputError) as caught:
        record_trainings.main(timing.options([option], record_trainings.DEFAULTS))
    assert str(caught.value) == message


def test_all_plans_can_be_trained_and_tried_alike(tmp_path):
    for plan in PLANS.values():
        for config in record_trainings.settings_of(plan, tmp_path, tmp_path / "cache"):
            assert config.sweep.tried() == TRIED
        json.dumps([task.point for task in plan.tasks])
