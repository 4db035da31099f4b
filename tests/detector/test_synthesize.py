from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "detector.synthesize"]


def synthesize(*arguments):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)


def test_writes_a_dataset_and_nothing_to_stdout(tmp_path):
    root = tmp_path / "new" / "receipts"
    done = synthesize(f"root={root}", "images=6", "seed=1", "longest_side_px=256", "languages=en")
    assert (done.returncode, done.stdout) == (0, "")
    assert "6 training and 2 validation receipts" in done.stderr
    assert len(json.loads((root / "jsons" / "val.json").read_text())["images"]) == 2
    assert json.loads((root / "synthetic.json").read_text())["languages"] == ["en"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["images=1"], "root: field required"),
        (["root=x", "images=0"], "images: input should be greater than or equal to 1, got '0'"),
        (["root=x", "images=1", "languages=ko, fr"], "languages: must be different ones of ko, en"),
        (["root=x", "images=1", "fonts=/no/such.ttf"], "fonts: /no/such.ttf does not exist"),
        (["root=x", "images=1", "sede=1"], "did you mean seed?"),
    ],
)
def test_wrong_input_is_one_message(arguments, message, tmp_path):
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_is_not_taken_for_a_dataset(tmp_path, wait_for):
    root = tmp_path / "receipts"
    arguments = [f"root={root}", "seed=3", "longest_side_px=256", "val_images=0"]
    process = subprocess.Popen([*COMMAND, *arguments, "images=5000"], stderr=subprocess.DEVNULL)
    wait_for(
        lambda: list(tmp_path.rglob("*.jpg")),
        "the first receipt",
        while_=lambda: process.poll() is None,
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(tmp_path.rglob("*.jpg"))
    assert not root.exists()
    assert synthesize(*arguments, "images=2").returncode == 0
    assert sorted(p.name for p in (root / "images" / "train").iterdir()) == [
        "train_00000.jpg",
        "train_00001.jpg",
    ]


def test_help_lists_every_key():
    done = synthesize("--help")
    assert done.returncode == 0
    for key in ("root", "images", "val_images", "seed", "longest_side_px", "languages", "fonts"):
        assert f"\n  {key}=" in done.stdout
