from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from detector.core.errors import InputError, JobError
from detector.data.labels.annotations import read_split
from detector.inference.checkpoint import read_best
from detector.inference.detector import load_detector, override
from detector.inference.evaluation import evaluate
from detector.metrics.cleval import CLEval


def test_scores_are_those_of_the_metric_on_the_detections(trained: Path, drawn_root: Path):
    detector, _ = load_detector(trained, device="cpu")
    pages = read_split(drawn_root, "val").pages
    found = {}
    scores = evaluate(detector, pages, on_page=lambda page, _, d: found.update({page.name: d}))
    metric = CLEval("competition")
    for page in pages:
        truth = [word.points for word in page.words]
        texts, ignore = [None] * len(truth), [word.ignore for word in page.words]
        metric.add(page.name, truth, texts, ignore, found[page.name].polygons)
    assert scores.hmean == metric.result().hmean
    assert scores.hmean == pytest.approx(np.mean(list(scores.page_hmeans.values())))
    assert scores.pages == 2
    assert scores.skipped == ()


def test_a_page_gives_the_same_detections_alone_as_in_a_split(trained: Path, drawn_root: Path):
    """Training, evaluation and prediction share one preprocessing."""
    from detector.data.page.images import read_image

    detector, _ = load_detector(trained, device="cpu")
    found = {}
    pages = read_split(drawn_root, "val").pages
    evaluate(detector, pages, on_page=lambda page, _, d: found.update({page.name: d}))
    for page in pages:
        alone = detector(read_image(page.path))
        assert len(alone.polygons) == len(found[page.name].polygons) > 0
        for a, b in zip(alone.polygons, found[page.name].polygons, strict=True):
            np.testing.assert_array_equal(a, b)


def test_postprocessing_can_be_replaced_and_is_checked(trained: Path):
    detector, config = load_detector(trained, device="cpu")
    assert override(detector, config, {}) == (detector, config)
    changed, settings = override(detector, config, {"postprocess.box_thresh": "0.9"})
    assert changed.postprocess.box_thresh == settings.postprocess.box_thresh == 0.9
    with pytest.raises(InputError, match=r"postprocess\.box_tresh: unknown key; did you mean"):
        override(detector, config, {"postprocess.box_tresh": 0.9})


def test_unreadable_pages_are_named_and_left_out(trained: Path, drawn_root: Path, tmp_path: Path):
    shutil.copytree(drawn_root, tmp_path / "data")
    detector, _ = load_detector(trained, device="cpu")
    pages = read_split(tmp_path / "data", "val").pages
    content = pages[0].path.read_bytes()
    pages[0].path.write_bytes(content[: len(content) // 2])
    scores = evaluate(detector, pages)
    assert scores.pages == 1
    assert pages[0].name in scores.skipped[0]
    pages[1].path.unlink()
    with pytest.raises(JobError, match="no page of the split could be read"):
        evaluate(detector, pages)


def test_command_prints_one_json_object(run_module, trained: Path, drawn_root: Path):
    done = run_module(
        "detector.evaluate",
        f"checkpoint={trained}",
        f"data.root={drawn_root}",
        "postprocess.thresh=0.25",
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["hmean"] > 0.5
    assert set(result["iou"]) == {"0.5", "0.7"}
    assert result["iou"]["0.5"]["hmean"] == result["iou_hmean"] >= result["iou"]["0.7"]["hmean"]
    assert result["postprocess"]["thresh"] == 0.25
    assert result["postprocess"]["box_thresh"] == read_best(trained)[1].postprocess.box_thresh


def test_mistakes_give_one_message_and_exit_code_2(run_module, tmp_path: Path, drawn_root: Path):
    done = run_module("detector.evaluate", f"checkpoint={tmp_path}", f"data.root={drawn_root}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: checkpoint=")
    assert "no model.safetensors there" in done.stderr
    done = run_module("detector.evaluate", "data.root=/nowhere", "chekpoint=x")
    assert done.returncode == 2
    assert "chekpoint: unknown key; did you mean checkpoint" in done.stderr
