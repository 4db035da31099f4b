"""A real small run, as TensorBoard itself serves it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import cv2
import numpy as np
import pytest

from detector.training.monitor import CAPTION_PX, box_thresh_scalars
from orchestrator import search
from orchestrator.space.parameters import Parameter
from orchestrator.track.tensorboard import METRICS, write_trial
from orchestrator.trials.records import TrialRecord, TrialState

SPACE = """\
description: a space for tests, with a condition and a value that is no number
fixed:
  data.train_pages: 2
  data.val_pages: 2
  data.longest_side_px: 224
  augment.crop_px: 64
  model.neck_channels: 16
  model.weights: none
  train.batch_size: 2
  sweep.box_thresh: [0.05, 0.1, 0.2]
  sweep.unclip_ratio: [1.6]
parameters:
  model.backbone: {choice: [mobilenetv3_small_050]}
  optimizer.name: {choice: [adamw, sgd]}
  optimizer.momentum: {uniform: [0.5, 0.9], when: {optimizer.name: sgd}}
  train.channels_last: {choice: [null, true, false]}
  optimizer.lr: {log_uniform: [5.0e-4, 4.0e-3]}
warm_start:
  - {optimizer.name: adamw, train.channels_last: null, optimizer.lr: 2.0e-3}
  - {optimizer.name: sgd, optimizer.momentum: 0.75, train.channels_last: true, optimizer.lr: 1.0e-3}
budget: {trials: 2, epochs: 2, grace_epochs: 1, reduction_factor: 2}
"""
WAIT_S = 300


@pytest.fixture(scope="module")
def run(ray_cluster, tmp_path_factory) -> Path:
    """Two trainings, of which one stops at the first rung."""
    assert ray_cluster
    folder = tmp_path_factory.mktemp("tensorboard")
    (folder / "tiny.yaml").write_text(SPACE)
    arguments = [f"space={folder / 'tiny.yaml'}", f"runs_dir={folder / 'runs'}", "name=first"]
    assert search.main([*arguments, "resources.gpus_per_trial=0"]) == 0
    return folder / "runs" / "first"


@contextmanager
def tensorboard(folder: Path, *options: str) -> Iterator[str]:
    """The address of a TensorBoard on a free port of the loopback interface."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    command += ["--port", "0", "--host", "127.0.0.1", "--reload_interval", "1", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        found = next(m for m in (re.search(r"http://127\.0\.0\.1:\d+", s) for s in lines) if m)
        yield found.group()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def get(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data=data, headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def eventually(test: Callable[..., None]) -> Callable[..., None]:
    """A test that is tried again while it fails: TensorBoard answers before it has read all."""

    @wraps(test)
    def patient(*args: Any, **kwargs: Any) -> None:
        end = time.monotonic() + WAIT_S
        while True:
            try:
                return test(*args, **kwargs)
            except (AssertionError, LookupError, StopIteration, OSError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    return patient


def session_groups(url: str) -> list[dict[str, Any]]:
    columns = [{"metric": {"tag": f"final/{name}"}} for name in METRICS]
    statuses = ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"]
    query = {
        "experimentName": "",
        "allowedStatuses": statuses,
        "colParams": columns,
        "startIndex": 0,
        "sliceSize": 100,
    }
    return get(f"{url}/data/plugin/hparams/session_groups", query)["sessionGroups"]


@pytest.fixture(scope="module", params=["auto", "false"])
def served(request, run: Path) -> Iterator[str]:
    """The run in TensorBoard, by its fast loader where it has one and by the one in Python."""
    with tensorboard(run, f"--load_fast={request.param}") as url:
        yield url


@eventually
def test_scalars_have_the_same_few_groups_in_every_trial(served: str):
    tags = get(f"{served}/data/plugin/scalars/tags")
    finished, stopped = (next(k for k in tags if f"/{n}_" in k) for n in ("00000", "00001"))
    assert set(tags) == {finished, stopped}
    assert set(tags[finished]) == set(tags[stopped])
    groups = {tag.partition("/")[0] for tag in tags[finished]}
    assert groups == {"cleval", "final", "iou", "loss", "sweep", "train"}
    for run_name, epochs in ((finished, [1, 2]), (stopped, [1])):
        query = urlencode({"run": run_name, "tag": "cleval/hmean"})
        points = get(f"{served}/data/plugin/scalars/scalars?{query}")
        assert [step for _, step, _ in points] == epochs


@eventually
def test_hmean_against_box_thresh_is_a_curve_in_percent(served: str, run: Path):
    tag = "sweep/hmean_by_box_thresh_percent"
    names = list(get(f"{served}/data/plugin/scalars/tags"))
    assert len(names) == 2
    for name in names:
        query = urlencode({"run": name, "tag": tag})
        points = get(f"{served}/data/plugin/scalars/scalars?{query}")
        kept = json.loads((run / name / "box_thresh.json").read_text())
        steps = [step for _, step, _ in points]
        assert steps == [round(100 * value) for value in kept["box_thresh"]]
        assert {*steps} - {50} == {5, 10, 20}  # 0.5 is that of the configured regions alone
        assert [value for _, _, value in points] == pytest.approx(kept["hmean"])


@eventually
def test_hparams_have_every_searched_setting_and_the_figures_that_matter(served: str):
    experiment = get(f"{served}/data/plugin/hparams/experiment", {"experimentName": ""})
    kinds = {info["name"]: info["type"] for info in experiment["hparamInfos"]}
    text, number = "DATA_TYPE_STRING", "DATA_TYPE_FLOAT64"
    assert kinds == {
        "state": text,
        "model.backbone": text,
        "optimizer.name": text,
        "optimizer.momentum": number,
        "train.channels_last": text,
        "optimizer.lr": number,
    }
    metrics = [info["name"]["tag"] for info in experiment["metricInfos"]]
    figures = ("hmean", "hmean_pooled", "iou_hmean", "precision", "recall")
    assert metrics == [f"final/{name}" for name in (*figures, "latency_ms", "params_m")]


@eventually
def test_finished_and_stopped_trials_are_rows_with_all_figures(served: str):
    first, second = session_groups(served)
    common = {"model.backbone": "mobilenetv3_small_050"}
    assert first["hparams"] == common | {
        "state": "finished",
        "optimizer.name": "adamw",
        "train.channels_last": "null",
        "optimizer.lr": 2e-3,
    }
    assert second["hparams"] == common | {
        "state": "stopped",
        "optimizer.name": "sgd",
        "optimizer.momentum": 0.75,
        "train.channels_last": "true",
        "optimizer.lr": 1e-3,
    }
    for group, epochs in ((first, 2), (second, 1)):
        assert len(group["metricValues"]) == len(METRICS)
        assert {value["trainingStep"] for value in group["metricValues"]} == {epochs}


@eventually
def test_pictures_show_the_same_pages_after_each_epoch(served: str):
    tags = get(f"{served}/data/plugin/images/tags")
    assert len(tags) == 2
    for name, pages in tags.items():
        assert set(pages) == {"pages/val_00000.jpg", "pages/val_00001.jpg"}
        for page in pages:
            query = urlencode({"run": name, "tag": page, "sample": 0})
            shown = get(f"{served}/data/plugin/images/images?{query}")
            assert [s["step"] for s in shown] == ([1, 2] if "/00000_" in name else [1])
            with urlopen(f"{served}/data/plugin/images/individualImage?{shown[-1]['query']}") as f:
                assert f.headers["Content-Type"] == "image/jpeg"
                picture = cv2.imdecode(np.frombuffer(f.read(), np.uint8), cv2.IMREAD_COLOR)
            assert picture.shape[0] == 800 + CAPTION_PX
            assert picture.shape[1] % 3 == 0


@eventually
def test_nothing_of_ray_or_of_unused_plugins_is_shown(served: str):
    tags = get(f"{served}/data/plugin/scalars/tags")
    every = {tag for of_run in tags.values() for tag in of_run}
    assert len(tags) == 2
    assert all({f"final/{name}" for name in METRICS} <= of_run.keys() for of_run in tags.values())
    assert not [tag for tag in every if "ray" in tag or "done" in tag or "time_" in tag]
    listing = get(f"{served}/data/plugins_listing")
    enabled = {name for name, plugin in listing.items() if plugin["enabled"]}
    assert enabled <= {"scalars", "timeseries", "images", "hparams"}


def test_failed_trials_with_a_score_are_rows_too_and_lists_are_text(tmp_path: Path):
    choices = ((0.3, 0.5), (0.4,))
    parameters = {
        "sweep.box_thresh": Parameter("sweep.box_thresh", "choice", choices),
        "optimizer.ema_decay": Parameter("optimizer.ema_decay", "choice", (0, 0.99)),
        "preprocess.crop": Parameter("preprocess.crop", "choice", (True, False)),
    }
    params = {"sweep.box_thresh": [0.4], "optimizer.ema_decay": 0, "preprocess.crop": True}
    failed = TrialRecord("00000", TrialState.FAILED, params, hmean=0.5, epochs=3)
    write_trial(tmp_path / "trials" / "00000", failed, parameters)
    nothing = TrialRecord("00001", TrialState.FAILED, params)
    write_trial(tmp_path / "trials" / "00001", nothing, parameters)
    assert not (tmp_path / "trials" / "00001").exists()
    with tensorboard(tmp_path) as url:
        check_failed_row(url)


@eventually
def check_failed_row(url: str) -> None:
    (row,) = session_groups(url)
    assert row["hparams"] == {
        "state": "failed",
        "sweep.box_thresh": "[0.4]",
        "optimizer.ema_decay": 0,
        "preprocess.crop": "true",
    }
    assert [session["status"] for session in row["sessions"]] == ["STATUS_FAILURE"]
    shown = {m["name"]["tag"]: m["value"] for m in row["metricValues"]}
    assert shown == {"final/hmean": 0.5}


def test_a_sweep_over_one_box_thresh_is_no_curve(tmp_path: Path):
    curve = {"epoch": 1, "box_thresh": [0.5], "hmean": [0.7], "precision": [0.7], "recall": [0.7]}
    (tmp_path / "box_thresh.json").write_text(json.dumps(curve))
    assert box_thresh_scalars(tmp_path) == {}
    assert box_thresh_scalars(tmp_path / "elsewhere") == {}
