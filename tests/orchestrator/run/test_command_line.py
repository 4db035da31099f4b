from __future__ import annotations

import pytest

from detector.config.cli import help_text
from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from orchestrator.config.settings import SearchConfig
from orchestrator.run.command_line import SearchArguments, parse_arguments


def test_the_command_line_is_split_by_section() -> None:
    config, detector = parse_arguments(
        [
            "space=dbnetpp",
            "name=first",
            "budget.trials=6",
            "resources.gpus_per_trial=0.5",
            "data.root=receipts",
            "train.batch_size=2",
            "model.weights=none",
            "train.threads=null",
        ]
    )
    assert (config.budget.trials, config.resources.gpus_per_trial) == (6, 0.5)
    assert detector == {
        "data.root": "receipts",
        "train.batch_size": "2",
        "model.weights": "none",
        "train.threads": None,
    }


def test_a_missing_space_lists_the_shipped_ones() -> None:
    with pytest.raises(InputError, match=r"space: required; give space=NAME \(.*dbnetpp.*smoke"):
        parse_arguments(["name=first"])


def test_all_faults_are_told_at_once_with_close_matches_over_both_kinds_of_key() -> None:
    with pytest.raises(InputError) as caught:
        parse_arguments(
            [
                "space=smoke",
                "spase=smoke",
                "budget.trails=3",
                "seed=-1",
                "data.rot=x",
                "optimiser.lr=1",
                "model=x",
            ]
        )
    lines = str(caught.value).splitlines()
    assert any(line.startswith("spase: unknown key; did you mean space") for line in lines)
    assert any(
        line.startswith("budget.trails: unknown key; did you mean budget.trials") for line in lines
    )
    assert any(line.startswith("seed: ") and line.endswith("got '-1'") for line in lines)
    assert any(line.startswith("data.rot: unknown key; did you mean data.root") for line in lines)
    assert any("did you mean optimizer.lr" in line for line in lines)
    assert any(
        line.startswith("model: is a section; set one of its keys: model.backbone")
        for line in lines
    )


def test_search_and_detector_keys_do_not_collide() -> None:
    assert not SearchConfig.model_fields.keys() & TrainConfig.model_fields.keys()


def test_help_lists_both_kinds_of_key() -> None:
    text = help_text(SearchArguments, program="search", description="x")
    assert "space=(required)" in text
    assert "budget.trials=null" in text
    assert "postprocess.box_thresh=0.5" in text


def test_short_forms_stand_for_their_keys():
    config, chosen = parse_arguments(["space=x", "postprocess=joint", "postprocess.thresh=0.4"])
    assert config.search.postprocess == "joint"
    assert chosen == {"postprocess.thresh": "0.4"}


def test_a_dataset_in_a_bucket_is_copied_from_there():
    config, chosen = parse_arguments(["space=x", "data.root=s3://receipts/2026"])
    assert (config.data_from, chosen) == ("s3://receipts/2026", {})
    with pytest.raises(InputError, match=r"data.root: the data come from data_from; leave one"):
        parse_arguments(["space=x", "data.root=receipts", "data_from=s3://receipts/2026"])
    with pytest.raises(InputError, match=r"data_from: must be the address of a bucket, such as"):
        parse_arguments(["space=x", "data.root=http://receipts/2026"])
