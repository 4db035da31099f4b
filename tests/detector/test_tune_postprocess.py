from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from detector.config.inference import Views
from detector.config.postprocess import Grid, PostprocessConfig
from detector.core.errors import InputError, JobError
from detector.data.labels.annotations import read_split
from detector.inference.checkpoint import find_best, read_best, save_best
from detector.inference.detector import load_detector, override
from detector.inference.evaluation import evaluate
from detector.postprocess.sweep import sweep
from detector.tune_postprocess import Settings, main

STORED = PostprocessConfig().model_dump()
GRID = {"thresh": (0.2, 0.3), "box_thresh": (0.2, 0.6), "unclip_ratio": (1.0, 1.6)}


@pytest.fixture
def checkpoint(trained: Path, tmp_path: Path) -> Path:
    """A copy, since the command may write into it."""
    return Path(shutil.copytree(trained / "checkpoint" / "best", tmp_path / "best"))


def settings(checkpoint: Path, root: Path, output: Path, **values) -> Settings:
    return Settings.model_validate(
        {
            "checkpoint": checkpoint,
            "data": {"root": root},
            "output": output,
            "device": "cpu",
            "grid": GRID | {"shape": None, "unclip": None},
        }
        | values
    )


def test_prints_the_best_settings_and_writes_the_curve(
    checkpoint: Path, drawn_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    before = (checkpoint / "config.yaml").read_text()
    assert main(settings(checkpoint, drawn_root, tmp_path / "out")) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["settings"], result["pages"], result["skipped"]) == (9, 2, [])
    assert (checkpoint / "config.yaml").read_text() == before
    detector, config = load_detector(checkpoint, device="cpu")
    pages = read_split(drawn_root, "val").pages
    assert result["stored"]["hmean"] == evaluate(detector, pages).hmean
    given = {f"postprocess.{key}": value for key, value in result["changed"].items()}
    chosen, _ = override(detector, config, given)
    assert chosen.postprocess.model_dump() == result["best"]["postprocess"]
    assert result["best"]["hmean"] == evaluate(chosen, pages).hmean
    assert result["extended"] == {}
    for key, value in result["at_an_end"].items():  # the stored value is among those tried
        assert value == result["best"]["postprocess"][key] in (*GRID[key], STORED[key])
    assert result["optimism"] == result["best"]["hmean"] - result["cross_fitted_hmean"]
    with (tmp_path / "out" / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert rows[0].keys() >= {"box_thresh", "shape", "hmean", "iou_hmean"}
    highest = max(float(row["hmean"]) for row in rows)
    assert highest == result["highest_hmean"] >= result["best"]["hmean"]
    picture = cv2.imread(str(tmp_path / "out" / "curve.png"))
    assert picture is not None
    assert np.ptp(picture) > 100


def test_writes_the_settings_into_the_checkpoint_when_asked(
    checkpoint: Path, drawn_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    main(settings(checkpoint, drawn_root, tmp_path / "out", write=True))
    result = json.loads(capsys.readouterr().out)
    _, config = read_best(checkpoint)
    assert config.postprocess.model_dump() == result["best"]["postprocess"]
    assert config.model_dump(exclude={"postprocess"}) == read_before(checkpoint)


def test_what_is_given_is_stored_with_the_settings_that_suit_it(
    checkpoint: Path, drawn_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    data = {"root": drawn_root, "longest_side_px": 160}
    given = {"data": data, "postprocess": {"min_side_px": 1.0}, "write": True}
    main(settings(checkpoint, drawn_root, tmp_path / "out", **given))
    result = json.loads(capsys.readouterr().out)
    assert result["stored"]["postprocess"]["min_side_px"] == 1.0
    detector, config = load_detector(checkpoint, device="cpu")
    assert config.data.longest_side_px == detector.preprocess.longest_side_px == 160
    assert detector.postprocess.model_dump() == result["best"]["postprocess"]
    pages = read_split(drawn_root, "val").pages
    assert result["best"]["hmean"] == evaluate(detector, pages).hmean


def test_views_are_tuned_for_but_cannot_be_stored(
    checkpoint: Path, drawn_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    views = {"tta": {"scales": [1.0, 1.5], "flip": True}}
    assert main(settings(checkpoint, drawn_root, tmp_path / "out", **views)) == 0
    assert json.loads(capsys.readouterr().out)["best"]["hmean"] > 0.5
    refused = settings(checkpoint, drawn_root, tmp_path / "out", write=True, **views)
    two = refused.model_copy(update={"checkpoint": [checkpoint] * 2, "tta": Views()})
    for several in (refused, two):
        with pytest.raises(InputError, match=r"^write: .*several checkpoints or views cannot be"):
            main(several)


@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="needs the extra ppocr")
def test_a_published_detector_is_tuned_for_but_keeps_no_settings(
    drawn_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    name = Path("ppocrv6_small")
    assert main(settings(name, drawn_root, tmp_path / "out")) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["best"]["hmean"] >= result["stored"]["hmean"]
    with pytest.raises(InputError, match=r"^checkpoint=ppocrv6_small: .* train it first"):
        main(settings(name, drawn_root, tmp_path / "out", write=True))


def read_before(checkpoint: Path) -> dict:
    """The other settings, from the copy that lies in the weights."""
    (checkpoint / "config.yaml").unlink()
    return read_best(checkpoint)[1].model_dump(exclude={"postprocess"})


def test_kept_maps_are_used_again_and_only_for_the_same_weights_and_pages(
    checkpoint: Path, drawn_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    kept = settings(checkpoint, drawn_root, tmp_path / "out", maps=tmp_path / "maps")
    main(kept)
    first = capsys.readouterr()
    assert "computing the probability maps of 2 pages" in first.err
    main(kept)
    second = capsys.readouterr()
    assert "computing" not in second.err
    assert second.out == first.out
    other = settings(
        checkpoint,
        drawn_root,
        tmp_path / "out",
        maps=tmp_path / "maps",
        data={"root": drawn_root, "pages": 1},
    )
    with pytest.raises(InputError, match=r"of other weights or pages.*give an empty folder"):
        main(other)


def test_pages_of_a_pdf_are_tuned_on(
    checkpoint: Path, drawn_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    root = shutil.copytree(drawn_root, tmp_path / "data")
    labels = json.loads((root / "jsons/val.json").read_text())["images"]
    photos = [Image.open(root / "images/val" / name) for name in labels]
    scan = root / "images/val/scan.pdf"
    photos[0].save(scan, save_all=True, append_images=photos[1:], resolution=200)
    for name in labels:
        (root / "images/val" / name).unlink()
    pages = {f"{scan.name}#page={n}": page for n, page in enumerate(labels.values(), 1)}
    (root / "jsons/val.json").write_text(json.dumps({"images": pages}))
    assert read_split(root, "val").faults == ()
    main(settings(checkpoint, root, tmp_path / "out", maps=tmp_path / "maps"))
    result = json.loads(capsys.readouterr().out)
    assert (result["pages"], result["skipped"]) == (2, [])
    assert result["best"]["hmean"] > 0.5


def test_an_empty_list_of_checkpoints_is_one_message(drawn_root: Path):
    given = Settings.model_validate({"checkpoint": [], "data": {"root": drawn_root}})
    with pytest.raises(InputError, match="checkpoint: needs at least one, got an empty list"):
        main(given)


def test_an_unreadable_page_is_named_and_the_rest_tuned(
    checkpoint: Path, drawn_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    shutil.copytree(drawn_root, tmp_path / "data")
    page = read_split(tmp_path / "data", "val").pages[0]
    content = page.path.read_bytes()
    page.path.write_bytes(content[: len(content) // 2])
    main(settings(checkpoint, tmp_path / "data", tmp_path / "out"))
    captured = capsys.readouterr()
    assert page.name in captured.err
    result = json.loads(captured.out)
    assert (result["pages"], result["skipped"]) == (1, [page.name])
    assert result["cross_fitted_hmean"] is None


def test_a_full_disk_is_one_message(checkpoint: Path, drawn_root: Path, tmp_path: Path, file_limit):
    kept = settings(checkpoint, drawn_root, tmp_path / "out", maps=tmp_path / "maps")
    with pytest.raises(JobError, match="probability maps cannot be kept"), file_limit(1000):
        main(kept)


def test_settings_found_for_weights_that_are_gone_are_not_written_to_others(
    checkpoint: Path, drawn_root: Path, tmp_path: Path, monkeypatch
):
    """A training has put better ones there meanwhile."""
    config = read_best(checkpoint)[1]

    def slow(*given):
        save_best(
            find_best(checkpoint).parent,
            load_detector(checkpoint)[0].model.state_dict(),
            config,
            {},
        )
        return sweep(*given)

    monkeypatch.setattr("detector.postprocess.rounds.sweep", slow)
    with pytest.raises(JobError, match="a training has put better weights there meanwhile"):
        main(settings(checkpoint, drawn_root, tmp_path / "out", write=True))
    assert read_best(checkpoint)[1] == config


def test_every_swept_setting_is_one_of_postprocess():
    assert set(Grid.model_fields) < set(PostprocessConfig.model_fields)


def test_command_line(run_module, checkpoint: Path, drawn_root: Path, tmp_path: Path):
    done = run_module(
        "detector.tune_postprocess",
        f"checkpoint={checkpoint}",
        f"data.root={drawn_root}",
        f"output={tmp_path / 'out'}",
        "grid.thresh=0.3",
        "grid.unclip_ratio=null",
        "grid.shape=[quad]",
        "grid.unclip=null",
        "grid.box_thresh=[0.25,0.65]",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["settings"] == 3
    with pytest.raises(ValidationError, match="needs a value to try, or null"):
        Grid(thresh=())
    wrong = run_module(
        "detector.tune_postprocess",
        f"checkpoint={checkpoint}",
        f"data.root={drawn_root}",
        "grid.box_thresh=[0.5, 2]",
    )
    assert wrong.returncode == 2
    assert "grid.box_thresh.1: input should be less than or equal to 1, got 2" in wrong.stderr
    assert "Traceback" not in wrong.stderr
