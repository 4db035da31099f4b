"""Runs on ten pages, whose trials are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_run import Made

SPACE = """\
description: a space for tests
fixed: {{data.root: {root}, train.batch_size: 2, train.seed: 7{more}}}
parameters:
  model.backbone: {{choice: [resnet18, resnet34]}}
  optimizer.lr: {{log_uniform: [1.0e-4, 1.0e-2]}}
budget: {{trials: 8, epochs: 6, grace_epochs: 2, reduction_factor: 2}}
"""


@pytest.fixture
def made(make_run: Callable[..., Made], blank_pages: Callable[..., Path], tmp_path: Path):
    """`made(more="")`: an empty run on ten training pages, with `more` fixed settings."""
    names = [f"{number}.jpg" for number in range(10)]
    root = blank_pages(tmp_path / "data", train=names, val=["a.jpg", "b.jpg"])
    return lambda more="": make_run(space=SPACE.format(root=root, more=more))
