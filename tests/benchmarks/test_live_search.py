"""The live counterpart of the replayed searches, without its trainings: its parts."""

from __future__ import annotations

import json
from dataclasses import replace

import live_search
import pytest
import recorded_points
import timing
from live_policies import Trained, Watch, incumbents
from policies import EnoughError

from detector.config.postprocess import SweepConfig
from detector.core.errors import InputError, JobError
from detector.data.labels.annotations import read_split
from orchestrator.space.nested import nested


def epochs(*figures):
    return [Trained("a", i, score, worth) for i, (score, worth) in enumerate(figures, 1)]


def options(**given):
    return timing.options([f"{k}={v}" for k, v in given.items()], live_search.DEFAULTS)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, make_dataset):
    root = tmp_path_factory.mktemp("data")
    make_dataset(root, split="train", pages=4)
    return make_dataset(root, split="val", pages=10)


def test_the_incumbent_has_the_best_score_and_of_equal_ones_comes_first():
    trained = epochs((0.2, 0.5), (0.1, 0.9), (0.3, 0.4), (0.3, 0.8))
    assert incumbents(trained) == [0, 0, 2, 2]
    assert incumbents([]) == []


def test_the_curve_is_what_would_be_shipped_then():
    trained = epochs((0.2, 0.5), (0.1, 0.9), (0.3, 0.4), (0.2, 0.7), (0.6, 0.6), (0.5, 0.1))
    assert live_search.curve(trained, 6) == [0.5, 0.4, 0.6]  # after 2, 3 and 6 epochs
    assert live_search.curve(trained[:3], 40) == [0.4, 0.4, 0.4]  # it ended after 3


def report(epoch, hmean, *, trial="trials/0/checkpoint/best", **more):
    return {"epoch": epoch, "hmean": hmean, "checkpoint": trial} | more


def test_a_watch_keeps_the_incumbent_and_counts_no_epoch_twice(tmp_path):
    best = tmp_path / "trials/0/checkpoint/best"
    best.mkdir(parents=True)
    told = []
    watch = Watch(tmp_path, enough=3, worth="tuned_hmean", told=lambda e: told.append(len(e)))
    kept = []
    for epoch, hmean in ((1, 0.3), (2, 0.5), (2, 0.5), (3, 0.4), (4, 0.9)):
        (best / "model.safetensors").write_text(f"weights of epoch {epoch}" + "." * epoch)
        watch.on_trial_result(result=report(epoch, hmean, tuned_hmean=hmean + 0.1))
        kept.append((tmp_path / "shipped/model.safetensors").read_text().strip("."))
    assert kept == [f"weights of epoch {epoch}" for epoch in (1, 2, 2, 2, 2)]
    assert [(e.epoch, e.score, e.worth) for e in watch.epochs] == [
        (1, 0.3, 0.4),
        (2, 0.5, 0.6),
        (3, 0.4, 0.5),
    ]
    assert told == [1, 2, 3]
    with pytest.raises(EnoughError):
        watch.on_step_end()


def test_a_watch_goes_on_until_there_are_enough_and_tells_of_a_failure(tmp_path):
    watch = Watch(tmp_path, enough=1, worth="hmean")
    watch.on_step_end()
    watch.on_trial_result(result={"error": "no such backbone"})
    with pytest.raises(JobError, match=r"^a trial failed: no such backbone$"):
        watch.on_step_end()


def test_both_policies_search_what_was_recorded_with_the_backbones_given(tmp_path, dataset):
    given = options(data=dataset, backbones="resnet18,resnet34", epochs=4, epochs_in_all=9)
    space = live_search.space_of(given, dataset, tmp_path)
    values = {key: parameter.values for key, parameter in space.parameters.items()}
    assert values["model.backbone"] == ("resnet18", "resnet34")
    for key in ("model.fusion", "optimizer.lr", "loss.negative_ratio"):
        assert values[key] == recorded_points.SPACE[key]
    tried = SweepConfig().tried()
    assert {k: v for k, v in values.items() if k.startswith("postprocess.")} == {
        f"postprocess.{key}": several for key, several in tried.items()
    }
    assert space.fixed["data.val_pages"] == 12
    assert space.fixed["augment.crop_px"] == recorded_points.FIXED["augment.crop_px"]
    assert (space.budget.trials, space.budget.epochs) == (9, 4)
    # The same settings of post-processing, scored after each epoch instead of drawn.
    inner = nested(space)
    point = {key: parameter.values[0] for key, parameter in inner.parameters.items()}
    assert inner.train_config(point).sweep.tried() == tried
    assert not [key for key in inner.parameters if key.startswith("postprocess.")]


def test_held_out_pages_are_those_that_no_search_looks_at(dataset):
    looked_at = {page.name for page in read_split(dataset, "val", limit=4).pages}
    pages = live_search.heldout_pages(dataset, 4, 6)
    assert len(looked_at) == 4
    assert {p.name for p in pages} == {f"val_{i:03d}.jpg" for i in range(10)} - looked_at
    assert len(live_search.heldout_pages(dataset, 4, 3)) == 3
    with pytest.raises(InputError, match=r"^heldout_pages: .* has 6 pages beside the 4 .* got 7"):
        live_search.heldout_pages(dataset, 4, 7)


def outcome(seed, trials, curve, heldout):
    return live_search.Outcome(
        seed=seed,
        trials=trials,
        epochs=36,
        curve=curve,
        heldout=heldout,
        seconds=100.0,
        settings={},
        trained=(),
    )


def test_the_table_has_means_over_seeds():
    found = {
        "ray": [outcome(0, 14, [0.1, 0.2, 0.3], 0.25), outcome(1, 15, [0.3, 0.4, 0.5], 0.35)],
        "ours": [outcome(0, 20, [0.4, 0.5, 0.6], 0.55)],
    }
    assert live_search.table(found, 36).splitlines() == [
        "| policy | seeds | trials begun | epochs | H-mean after 9 | H-mean after 18 "
        "| H-mean after 36 | held-out H-mean | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
        "| ray | 2 | 14.5 | 36 | 0.2000 | 0.3000 | 0.4000 | 0.3000 | 100 |",
        "| ours | 1 | 20 | 36 | 0.4000 | 0.5000 | 0.6000 | 0.5500 | 100 |",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": "d", "policies": "mine"}, "policies: 'mine' is not one of ray, ours; "),
        ({"data": "d", "factor": 1}, "factor: must be a whole number from 2, got 1"),
        ({"data": "d", "grace": 7}, "grace: must not exceed epochs=6, got 7; lower it"),
    ],
)
def test_a_wrong_option_is_one_message(given, message):
    with pytest.raises(InputError) as caught:
        live_search.main(options(**given))
    assert str(caught.value).startswith(message)


def test_the_file_holds_every_epoch_so_far(tmp_path):
    done = replace(outcome(0, 1, [0.5] * 3, 0.4), trained=tuple(epochs((0.2, 0.5))))
    given = options(data="d", output=tmp_path / "live.json")
    live_search.write(given, {"ray": [done], "ours": []})
    kept = json.loads((tmp_path / "live.json").read_text())
    assert kept["outcomes"]["ours"] == []
    (found,) = kept["outcomes"]["ray"]
    assert found["trained"] == [{"trial": "a", "epoch": 1, "score": 0.2, "worth": 0.5}]
    assert (found["heldout"], kept["options"]["epochs_in_all"]) == (0.4, 36)
