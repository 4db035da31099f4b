"""docTR beside ours: what is asked of it, and its training where it is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import bench_training
import numpy as np
import peer_doctr
import pytest
import timing

from detector.core.errors import InputError
from detector.data.labels.pages import Page, Word

INSTALLED = find_spec("doctr") is not None


def options(**given):
    return timing.options([f"{k}={v}" for k, v in given.items()], bench_training.DEFAULTS)


def test_another_peer_is_refused():
    with pytest.raises(InputError, match=r"^peer: must be contest or doctr, got 'mine'$"):
        bench_training.main(options(peer="mine"))


@pytest.mark.skipif(INSTALLED, reason="docTR is installed")
def test_without_doctr_it_is_said_how_to_install_it():
    with pytest.raises(InputError, match=r"^peer: docTR cannot .* pip install -e '\.\[peers\]'$"):
        bench_training.main(options(peer="doctr", backbone="resnet50"))


def test_words_go_to_doctr_as_quads_that_count():
    square = np.array([[0, 0], [4, 0], [4, 2], [0, 2]], np.float32)
    longer = np.vstack([square, [[0, 1]]]).astype(np.float32)
    words = (
        Word("a", square, "a", ignore=False),
        Word("b", square + 1, "b", ignore=True),
        Word("c", longer, "c", ignore=False),
    )
    page = Page("p.jpg", Path("p.jpg"), 10, 10, words)
    assert peer_doctr.quads(page) == [[[0, 0], [4, 0], [4, 2], [0, 2]]]


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="needs docTR (pip install -e '.[peers]')")
def test_both_train_side_by_side(tmp_path: Path):
    sizes = "peer=doctr backbone=mobilenetv3_large_100 neck_channels=16 crop=64 batch=2 rounds=1"
    script = Path(bench_training.__file__)
    done = subprocess.run(
        [sys.executable, str(script), *sizes.split(), "page_px=256"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "doctr: 4.2 million weights" in done.stdout
    assert "loading and step, elapsed" in done.stdout


@pytest.mark.skipif(not INSTALLED, reason="needs docTR (pip install -e '.[peers]')")
def test_a_backbone_that_doctr_has_not_is_refused():
    with pytest.raises(InputError, match=r"^backbone: docTR has .*, got 'resnet18'; "):
        bench_training.main(options(peer="doctr"))
