from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from detector.config.inference import Views
from detector.config.settings import PostprocessConfig, TrainConfig
from detector.core.errors import InputError
from detector.data.page.images import list_images, read_image
from detector.inference.augmented import load_average, members
from detector.inference.checkpoint import find_best, read_best, save_best
from detector.inference.ensemble import ENSEMBLE, ensemble_file, read_ensemble, write_ensemble

CHOSEN = PostprocessConfig(thresh=0.25, box_thresh=0.35)


@pytest.fixture(scope="module")
def other(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `best/` like the trained one but for its weights."""
    tensors, config = read_best(trained)
    folder = tmp_path_factory.mktemp("other") / "best"
    changed = {k: v * 0.9 if v.is_floating_point() else v for k, v in tensors.items()}
    save_best(folder, changed, config, {})
    return folder


@pytest.fixture
def ensemble(trained: Path, other: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "ensemble"
    parts = {"00001": find_best(trained).parent, "00004": other}
    write_ensemble(folder, parts, tta=Views(scales=[1.0, 1.25]), postprocess=CHOSEN)
    return folder


@pytest.fixture(scope="module")
def page(drawn_root: Path) -> np.ndarray:
    return read_image(list_images(drawn_root / "images" / "val")[0])


def test_an_ensemble_is_the_average_of_its_members(
    trained: Path, other: Path, ensemble: Path, page: np.ndarray
):
    found, config = load_average([ensemble], device="cpu")
    expected, _ = load_average([trained, other], scales=[1.0, 1.25], device="cpu")
    maps = found.map_of(page).probability, expected.map_of(page).probability
    np.testing.assert_array_equal(*maps)
    assert config.postprocess == found.postprocess == CHOSEN
    assert members([ensemble]) == [ensemble / "00001", ensemble / "00004"]


def test_what_is_given_comes_before_what_is_kept(ensemble: Path):
    found, config = load_average(
        [ensemble / ENSEMBLE], {"postprocess.thresh": 0.4}, scales=[1.0], device="cpu"
    )
    assert found.scales == (1.0,)
    assert config.postprocess == CHOSEN.model_copy(update={"thresh": 0.4})


def test_a_folder_whose_best_is_an_ensemble_is_one(ensemble: Path, trained: Path):
    run = ensemble.parent / "run"
    run.mkdir()
    ensemble.rename(run / "best")
    assert ensemble_file(run) == run / "best" / ENSEMBLE
    assert ensemble_file(trained) is None


def test_an_ensemble_stands_alone(ensemble: Path, trained: Path):
    with pytest.raises(InputError, match="is an ensemble, which is given alone, got 2 checkpoints"):
        load_average([trained, ensemble])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("members: []", "members: list should have at least 1 item"),
        ("members: [../elsewhere]", "members.0: string should match pattern"),
        ("members: ['00001']\nviews: 3", "views: unknown key"),
        ("members: ['00009']", "no model.safetensors there"),
    ],
)
def test_a_broken_ensemble_is_one_message(ensemble: Path, text: str, fault: str):
    (ensemble / ENSEMBLE).write_text(text)
    with pytest.raises(InputError, match=fault):
        load_average([ensemble])


def test_writing_an_ensemble_again_leaves_nothing_of_the_former(ensemble: Path, other: Path):
    write_ensemble(ensemble, {"00007": other}, tta=Views(), postprocess=CHOSEN)
    assert sorted(path.name for path in ensemble.iterdir()) == ["00007", ENSEMBLE]
    assert read_ensemble(ensemble / ENSEMBLE).members == ["00007"]


def test_every_command_takes_an_ensemble(
    run_module: Callable, ensemble: Path, drawn_root: Path, tmp_path: Path
):
    tuned = run_module(
        "detector.tune_postprocess",
        *(f"checkpoint={ensemble}", f"data.root={drawn_root}", f"output={tmp_path / 'sweep'}"),
        *("grid.thresh=[0.2,0.3]", "grid.box_thresh=[0.3,0.5]", "write=true"),
    )
    assert tuned.returncode == 0, tuned.stderr
    kept = read_ensemble(ensemble / ENSEMBLE)
    assert kept.postprocess != CHOSEN
    assert kept.tta == Views(scales=[1.0, 1.25])
    file = tmp_path / "model.onnx"
    refused = run_module("detector.export", f"checkpoint={ensemble}", f"output={file}")
    assert refused.returncode == 2
    assert "averages pages of several sizes, [1.0, 1.25]" in refused.stderr


def test_an_ensemble_of_one_page_size_is_one_onnx_file(
    trained: Path, other: Path, tmp_path: Path, page: np.ndarray, run_module: Callable
):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder, file = tmp_path / "ensemble", tmp_path / "model.onnx"
    parts = {"a": find_best(trained).parent, "b": other}
    write_ensemble(folder, parts, tta=Views(), postprocess=CHOSEN)
    done = run_module("detector.export", f"checkpoint={folder}", f"output={file}")
    assert done.returncode == 0, done.stderr
    exported, config = load_average([file], device="cpu")
    assert config.postprocess == CHOSEN
    averaged, _ = load_average([folder], device="cpu")
    found, expected = (d.map_of(page).probability for d in (exported, averaged))
    assert torch.from_numpy(found - expected).abs().max() < 1e-4


def test_the_config_is_that_of_the_first_member(ensemble: Path, trained: Path):
    _, config = load_average([ensemble], device="cpu")
    _, first = read_best(trained)
    same: TrainConfig = config.model_copy(update={"postprocess": first.postprocess})
    assert same == first
