from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from detector.model.graph.starts import STARTS
from orchestrator.config.budget import BudgetConfig
from orchestrator.space.search_space import SearchSpace, load_space
from orchestrator.space.starts import load_available

SPACE = """\
parameters:
  train.init: { choice: [none, ppocrv6_small] }
  model.backbone: { choice: [resnet18, resnet34], when: { train.init: none } }
  optimizer.lr: { log_uniform: [1.0e-4, 1.0e-2] }
warm_start:
  - { train.init: ppocrv6_small, optimizer.lr: 1.0e-3 }
  - train.init: none
    model.backbone: resnet34
    optimizer.lr: 2.0e-3
    published.row: "as told"
    published.hmean: 0.9
    published.precision: 0.8
    published.recall: 0.7
"""


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of the start is not installed."""
    lost = replace(STARTS["ppocrv6_small"], package="nobody_has_this_package")
    monkeypatch.setitem(STARTS, "ppocrv6_small", lost)  # type: ignore[arg-type]


def load(folder: Path, narrow: Mapping[str, Any] | None = None, text: str = SPACE) -> SearchSpace:
    (folder / "space.yaml").write_text(text)
    return load_available(
        str(folder / "space.yaml"),
        gpu=True,
        overrides={"data.root": "receipts"},
        budget=BudgetConfig(),
        narrow=narrow or {},
    )


@pytest.mark.usefixtures("nowhere")
def test_a_start_that_cannot_be_had_is_not_searched(tmp_path: Path):
    space = load(tmp_path)
    assert "train.init" not in space.parameters
    assert space.fixed["train.init"] == "none"
    assert space.parameters["model.backbone"].when == {}
    assert space.warm_start == ({"model.backbone": "resnet34", "optimizer.lr": 2e-3},)
    assert [(row.point, row.hmean) for row in space.published] == [(space.warm_start[0], 0.9)]
    first, second = space.notes
    assert first == (
        "train.init=ppocrv6_small: the package nobody_has_this_package is not installed; "
        "pip install -e '.[ppocr]'; it is not searched"
    )
    assert "the warm start of" in second
    for point in space.warm_start:
        assert space.train_config(point).train.init == "none"


@pytest.mark.usefixtures("nowhere")
def test_what_is_left_of_several_starts_is_searched(tmp_path: Path):
    best = tmp_path / "best"
    text = SPACE.replace("[none, ppocrv6_small]", f"[none, ppocrv6_small, {best}]")
    space = load(tmp_path, text=text)
    assert space.parameters["train.init"].values == ("none", str(best))
    assert space.parameters["model.backbone"].when == {"train.init": ("none",)}


@pytest.mark.usefixtures("nowhere")
def test_a_start_that_was_asked_for_stays_until_it_is_looked_at(tmp_path: Path):
    space = load(tmp_path, narrow={"train.init": ["ppocrv6_small"]})
    assert space.parameters["train.init"].values == ("ppocrv6_small",)
    assert not any("not installed" in note for note in space.notes)


@pytest.mark.skipif(find_spec("rapidocr") is None, reason="needs the extra ppocr")
def test_with_every_package_the_space_is_as_it_is_written(tmp_path: Path):
    assert load(tmp_path) == load_space(
        str(tmp_path / "space.yaml"), gpu=True, overrides={"data.root": "receipts"}
    )
