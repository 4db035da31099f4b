"""What a training on its own prints, line for line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXPECTED = [
    r"train: \d+ pages, \d+ words",
    r"val: \d+ pages, \d+ words",
    r"mobilenetv3_small_050: starting from scratch, as model\.weights=none says",
    r"epoch 1/1  loss \d\.\d+  H-mean .*  \d+ s",
    r"best H-mean \d\.\d{4} \(epoch 1\), IoU H-mean \d\.\d{4}",
    r"weights: .*",
    r"score:   python -m detector\.evaluate .*",
    r"use:     python -m detector\.predict .*",
    r"curves:  tensorboard --logdir .*",
]


def test_a_training_says_its_own_lines_and_no_others(drawn_root: Path, tmp_path: Path):
    settings = ["model.backbone=mobilenetv3_small_050", "model.weights=none"]
    settings += ["model.neck_channels=16", "augment.crop_px=64", "data.longest_side_px=96"]
    settings += ["train.epochs=1", f"data.root={drawn_root}", f"output={tmp_path / 'out'}"]
    done = subprocess.run(
        [sys.executable, "-m", "detector.train", *settings],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    said = done.stderr.splitlines()
    assert len(said) == len(EXPECTED), done.stderr
    assert all(re.fullmatch(rule, line) for rule, line in zip(EXPECTED, said, strict=True))
