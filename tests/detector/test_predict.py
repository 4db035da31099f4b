from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from detector.errors import InputError
from detector.predict import find_images


def test_a_folder_becomes_json_csv_and_pictures_that_score_alike(
    run_module, trained: Path, drawn_root: Path, tmp_path: Path
):
    images = tmp_path / "images"
    shutil.copytree(drawn_root / "images" / "val", images)
    first = sorted(images.iterdir())[0]
    (images / "broken.jpg").write_bytes(first.read_bytes()[:200])
    done = run_module(
        "detector.predict",
        f"checkpoint={trained}",
        f"images={images}",
        f"output={tmp_path}/pred.json",
        f"csv={tmp_path}/pred.csv",
        f"visualize={tmp_path}/drawn",
    )
    assert done.returncode == 0, done.stderr
    assert "skipped:" in done.stderr
    assert "broken.jpg" in done.stderr
    found = json.loads((tmp_path / "pred.json").read_text())["images"]
    assert len(found) == 2
    with Image.open(tmp_path / "drawn" / f"{first.name}.png") as picture:
        assert picture.size == (found[first.name]["img_w"], found[first.name]["img_h"])

    scores = []
    for name in ("pred.json", "pred.csv"):
        gt = drawn_root / "jsons" / "val.json"
        score = subprocess.run(
            [sys.executable, "-m", "detector.cleval", f"gt={gt}", f"pred={tmp_path / name}"],
            capture_output=True,
            text=True,
            check=True,
        )
        scores.append(json.loads(score.stdout)["hmean"])
    assert scores[0] == scores[1] > 0.5


def test_what_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(InputError, match="no such file or folder"):
        find_images(tmp_path / "none")
    with pytest.raises(InputError, match="no jpg, jpeg or png file"):
        find_images(tmp_path)


def test_only_broken_images_fail_with_exit_code_1(run_module, trained: Path, tmp_path: Path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    done = run_module(
        "detector.predict",
        f"checkpoint={trained}",
        f"images={tmp_path}",
        f"output={tmp_path / 'pred.json'}",
    )
    assert done.returncode == 1
    assert "no image could be read" in done.stderr
    assert not (tmp_path / "pred.json").exists()
