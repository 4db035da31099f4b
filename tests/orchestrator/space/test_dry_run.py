"""What a dry run shows, and what it finds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from io import StringIO
from itertools import islice
from pathlib import Path

import pytest
from rich.console import Console

from detector.config.answer import as_json, collected
from detector.core.errors import InputError
from orchestrator.run.command_line import parse_arguments
from orchestrator.space.dry_run import CHECKED, draws, show
from orchestrator.space.search_space import SearchSpace, load_space

TEXT = """\
description: a small space
fixed:
  augment.crop_px: 320
  data.exclude: null
parameters:
  model.fusion: {choice: [none, scale_spatial]}
  loss.negative_ratio:
    uniform: [2, 5]
    when: {model.fusion: [scale_spatial], model.neck: [fpn, unet]}
  model.neck: {choice: [fpn, unet]}
  model.neck_channels: {int: [64, 256], step: 32}
  loss.binary_weight: {const: 1}
  train.channels_last: {choice: [true, false]}
warm_start:
  - {model.fusion: none, model.neck: unet, model.neck_channels: 96, train.channels_last: true}
  - {model.fusion: none, model.neck: unet, train.channels_last: true}
budget: {trials: 7, epochs: 9, grace_epochs: 3, reduction_factor: 3}
"""


def load(folder: Path, text: str = TEXT) -> SearchSpace:
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return load_space(str(path), gpu=True)


RUNGS = [(1, Fraction(1, 2)), (3, Fraction(2, 9))]


def shown(
    space: SearchSpace,
    *,
    seed: int = 0,
    rungs: Sequence[tuple[int, Fraction]] = RUNGS,
    cost: str | None = None,
    width: int = 120,
) -> str:
    out = StringIO()
    show(space, seed=seed, rungs=rungs, cost=cost, console=Console(file=out, width=width))
    return out.getvalue()


def rows(text: str) -> list[str]:
    """The lines with one blank between words."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_everything_about_a_space_is_shown(tmp_path: Path) -> None:
    space = load(tmp_path)
    with collected() as answer:
        text = shown(space, cost="cost: 7 trials, about an hour")
    lines = rows(text)
    assert lines[0] == "small: a small space"
    for row in (
        "setting kind values only when",
        "model.fusion choice none, scale_spatial",
        "loss.negative_ratio uniform 2.0 to 5.0 model.fusion is scale_spatial and model.neck is "
        "fpn or unet",
        "model.neck_channels int, step 32 64 to 256",
        "loss.binary_weight constant 1.0",
        "train.channels_last choice true, false",
        "augment.crop_px 320",
        "data.exclude null",
        "data.train_pages 24",
        "data.root synthetic receipts, made when the search starts",
        "budget: 7 trials of up to 9 epochs; the best go on: 1 in 2 after epoch 1, 2 in 9 after "
        "epoch 3",
        "10 random points, seed=0",
        f"{CHECKED + 2} configurations were drawn, and the detector takes all of them",
    ):
        assert row in lines
    assert lines[-1] == "cost: 7 trials, about an hour"
    told = json.loads(as_json(answer))
    assert (told["space"], told["budget"]["trials"], told["cost"]) == ("small", 7, lines[-1])
    assert told["rungs"] == [{"epoch": 1, "share": 0.5}, {"epoch": 3, "share": 2 / 9}]
    channels = {"kind": "int", "values": [64, 256], "step": 32, "when": {}}
    assert told["parameters"]["model.neck_channels"] == channels
    neck = told["parameters"]["loss.negative_ratio"]["when"]
    assert neck == {"model.fusion": ["scale_spatial"], "model.neck": ["fpn", "unet"]}
    assert (len(told["warm_starts"]), len(told["random_points"])) == (2, 10)


def test_without_rungs_all_are_trained_to_the_end(tmp_path: Path) -> None:
    lines = rows(shown(load(tmp_path), rungs=[]))
    assert "budget: 7 trials of up to 9 epochs; all are trained to the end" in lines


def test_warm_starts_come_first_with_what_is_drawn_for_them(tmp_path: Path) -> None:
    space = load(tmp_path)
    text = shown(space, width=200)
    first = (
        "1 model.fusion=none model.neck=unet model.neck_channels=96 train.channels_last=true; "
        "drawn: loss.binary_weight=1"
    )
    lines = rows(text)
    at = lines.index("warm starts, which run first")
    assert lines[at + 1] == first
    _, point = islice(draws(space, 0), 2)
    assert lines[at + 2] == (
        "2 model.fusion=none model.neck=unet train.channels_last=true; drawn: "
        f"model.neck_channels={point['model.neck_channels']} loss.binary_weight=1"
    )


def test_ten_sampled_points_are_shown_as_the_command_line_takes_them(tmp_path: Path) -> None:
    space = load(tmp_path)
    lines = rows(shown(space, width=250))
    at = lines.index("10 random points, seed=0")
    sampled = lines[at + 1 : at + 11]
    assert [row.split()[0] for row in sampled] == [str(n) for n in range(1, 11)]
    for row in sampled:
        config, point = parse_arguments(["space=smoke", *row.split()[1:]])
        assert point.keys() <= space.parameters.keys()
        assert ("loss.negative_ratio" in point) == (point["model.fusion"] == "scale_spatial")
        assert config.space == "smoke"


def test_a_seed_decides_what_is_drawn(tmp_path: Path) -> None:
    space = load(tmp_path)
    assert shown(space, seed=1) == shown(space, seed=1)
    assert shown(space, seed=1).replace("seed=1", "") != shown(space, seed=2).replace("seed=2", "")


def test_warm_starts_beyond_the_budget_are_told(tmp_path: Path) -> None:
    space = load(tmp_path, TEXT.replace("trials: 7", "trials: 1"))
    assert "warm starts, which run first; the budget ends after 1 of 2" in shown(space)


def test_text_of_a_space_is_no_markup(tmp_path: Path) -> None:
    space = load(tmp_path, TEXT.replace("a small space", '"[bold]one[/bold] [/x]"'))
    assert "small: [bold]one[/bold] [/x]" in shown(space)


def test_a_space_without_description_fixed_settings_or_warm_starts(tmp_path: Path) -> None:
    text = "parameters: {optimizer.lr: {uniform: [0.1, 0.2]}}\nfixed: {data.root: receipts}\n"
    lines = rows(shown(load(tmp_path, text)))
    assert lines[0] == "small"
    assert not any("warm" in row for row in lines)
    assert not any("synthetic" in row for row in lines)


def test_a_configuration_that_cannot_be_trained_is_told_with_its_point(tmp_path: Path) -> None:
    text = (
        "parameters:\n"
        "  augment.scale_min: {uniform: [0.5, 2.0]}\n"
        "  augment.scale_max: {uniform: [1.0, 3.0]}\n"
    )
    space = load(tmp_path, text)
    bad = [
        p
        for p in islice(draws(space, 0), CHECKED)
        if p["augment.scale_min"] > p["augment.scale_max"]
    ]
    assert 0 < len(bad) < CHECKED
    with pytest.raises(InputError) as caught:
        shown(space)
    head, *told = str(caught.value).splitlines()
    assert head == (
        f"space: {len(bad)} of {CHECKED} configurations drawn from small cannot be trained; change "
        "the ranges, or search one of the settings only when: another allows it"
    )
    low, high = (bad[0][f"augment.scale_{end}"] for end in ("min", "max"))
    assert told[0].startswith(
        f"augment.scale_min={low:.4g} augment.scale_max={high:.4g}: "
        "augment: scale_min must not exceed scale_max"
    )


def test_no_ray_and_no_file(tmp_path: Path) -> None:
    code = (
        "import sys; from rich.console import Console\n"
        "from orchestrator.space.dry_run import show\n"
        "from orchestrator.space.search_space import load_space\n"
        "space = load_space('small.yaml', gpu=False)\n"
        "show(space, seed=0, rungs=[], cost=None, console=Console())\n"
        "assert 'ray' not in sys.modules"
    )
    load(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [p.name for p in tmp_path.iterdir()] == ["small.yaml"]


def test_a_run_is_not_resumed_dry() -> None:
    assert parse_arguments(["space=smoke", "dry_run=true"])[0].dry_run
    with pytest.raises(InputError, match=r"leave resume out, and give space=RUN_FOLDER/space"):
        parse_arguments(["space=smoke", "name=a", "resume=true", "dry_run=true"])
