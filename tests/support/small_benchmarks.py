"""Every benchmark with its default data in a small size, and why some are not run at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "benchmarks"
COMMANDS = sorted(p.name for p in FOLDER.glob("*.py") if "\nDEFAULTS = {" in p.read_text())
Small = Mapping[str, tuple[str, str]]  # what makes it small and is no folder or file; what it says
SMALL: Small = {
    "bench_cleval.py": ("rounds=1 pages=250", "no data=FOLDER"),
    "bench_eta.py": ("seeds=1 trials=8", "8 of 40 trainings, 1 seeds"),
    "bench_feed.py": (
        "pages=2 page_px=512 side=256 crop=128 batch=2 workers=1 epochs=1 rounds=1",
        "2 pages in 1 epochs",
    ),
    "bench_loop.py": (
        "pages=4 train=16 words=6 side=128 crop=64 batch=4 workers=1 epochs=3 "
        "backbone=mobilenetv3_small_050",
        "16 crops of 64 px and 4 pages of 6 words",
    ),
    "bench_hopeless.py": ("searches=4", "40 trainings of 9 epochs, 4 searches"),
    "bench_machines.py": ("seeds=1", "40 trials, 1 seeds"),
    "bench_memory.py": (
        "backbones=mobilenetv3_small_050 sides=64 batches=1 page_px=64",
        "mobilenetv3_small_050, crops of 64",
    ),
    "bench_cache.py": ("pages=2 page_px=512 side=128 rounds=1", "means of squares"),
    "bench_new_pages.py": ("searches=2", "pages; 2 searches"),
    "bench_pipeline.py": ("pages=2 page_px=512 side=256 crop=128 rounds=1", "2 pages"),
    "bench_postprocess.py": ("words=6 side=128 rounds=1", "128 x 128 map, 6 words"),
    "bench_report.py": ("trials=12 epochs=4 pages=4 rounds=1", "12 trials of up to 4 epochs"),
    "bench_step.py": (
        "backbone=mobilenetv3_small_050 crop=64 batch=1 rounds=1",
        "gradient checkpointing",
    ),
    "bench_sweep.py": ("pages=3 words=6 side=128 rounds=1", "3 pages"),
    "bench_targets.py": ("words=6 side=128 rounds=1", "6 words"),
    "bench_training.py": (
        "backbone=mobilenetv3_small_050 neck_channels=16 crop=64 batch=1 rounds=1 page_px=256",
        "mobilenetv3_small_050",
    ),
    "fuzz.py": ("examples=20", "aihub_ocr_xy              20 "),
    "gpu.py": ("parts=waits,memory", "not measured: no GPU"),
    "record_trainings.py": ("processes=1", "3 of 3: "),
}
SMALL_ON_RAY: Small = {
    "bench_disk.py": ("trials=2", "space=smoke budget.trials=2"),
    "bench_placement.py": ("trials=2", "process reused"),
    "bench_scale.py": ("trials=20 paused=24 nodes=1 pages=4", "20 trials on 1 simulated nodes"),
    "bench_search.py": ("seeds=1 cap=30", "40 trainings of 9 epochs"),
    "live_search.py": (
        "epochs_in_all=2 epochs=1 train_pages=2 val_pages=2 heldout_pages=2",
        "no data=FOLDER: training on synthetic receipts",
    ),
}
NOT_RUN = {
    "chaos.py": "tests/faults has its faults, test_chaos.py its table",
    "bench_hard_pages.py": "half an hour of trainings; test_bench_next_pages.py has small ones",
    "bench_next_pages.py": "an hour of trainings; test_bench_next_pages.py has small ones",
    "bench_pages.py": "half an hour of trainings; test_bench_pages.py has what it says of them",
    "record_pages.py": "a quarter of an hour of trainings; test_bench_new_pages.py has its file",
}


def run_small(script: str, folder: Path, small: Small) -> None:
    """Run a benchmark in a folder; AssertionError where it fails or does not say what it should."""
    sizes, said = small[script]
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *sizes.split()],
        cwd=folder,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout + done.stderr
