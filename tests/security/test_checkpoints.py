"""Checkpoints from strangers: nothing is unpickled, and what does not fit changes nothing."""

from __future__ import annotations

import ast
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.inference.checkpoint import load_weights, read_best, save_best
from detector.model.weights import read_weights
from detector.training.storage.state_file import TrainingState, load_state, save_state

SOURCES = sorted(
    path
    for folder in ("detector", "orchestrator")
    for path in (Path(__file__).parents[2] / folder).rglob("*.py")
)
LOADERS = {"load", "loads", "Unpickler", "read_pickle"}
# Ray's own file on the error of a trial, in a folder that Ray wrote for this run.
TRUSTED = {("failures.py", "cloudpickle.loads")}


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("HACKED",)


def state() -> TrainingState:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 2)).square().sum().backward()
    optimizer.step()
    return TrainingState(model, None, optimizer, torch.amp.GradScaler("cpu", enabled=False))


@pytest.fixture
def last(tmp_path: Path) -> Path:
    path = tmp_path / "last.safetensors"
    save_state(path, state(), TrainConfig())
    return path


def rewrite(
    path: Path,
    tensors: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda t: t,
    record: Callable[[dict[str, Any]], Any] = lambda r: r,
) -> None:
    """Change a state file's tensors and its record."""
    with safe_open(path, framework="pt") as file:
        kept = json.loads(file.metadata()["state"])
    save_file(tensors(load_file(path)), path, {"state": json.dumps(record(kept))})


def test_no_module_unpickles() -> None:
    """Every call that could, other than `torch.load` with weights_only=True."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            call = ast.unparse(node.func)
            if node.func.attr not in LOADERS or call in ("json.loads", "yaml.load"):
                continue
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            safe = call == "torch.load" and options.get("weights_only") == "True"
            safe = safe or (call == "np.load" and options.get("allow_pickle", "False") == "False")
            if not safe and ("pickle" in call or call.partition(".")[0] in ("torch", "np")):
                found.append((path.name, call))
    assert set(found) == TRUSTED


@pytest.mark.parametrize("name", ["no such", 3.5, None, [1]])
def test_an_optimizer_that_there_is_not_is_another_setting(last: Path, name: Any) -> None:
    def change(record: dict[str, Any]) -> dict[str, Any]:
        record["config"]["optimizer"]["name"] = name
        return record

    rewrite(last, record=change)
    with pytest.raises(InputError, match=r"optimizer\.name: .* when it was saved, 'adamw' now"):
        load_state(last, state(), TrainConfig())


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
def test_a_pickle_runs_nothing_wherever_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for save in (
        lambda path: path.write_bytes(pickle.dumps(Evil())),
        lambda path: torch.save({"state_dict": Evil()}, path),
        lambda path: torch.save(Evil(), path, _use_new_zipfile_serialization=False),
    ):
        path = tmp_path / f"model{suffix}"
        save(path)
        with pytest.raises(InputError, match=f"model{suffix}"):
            read_weights(path)
        path.rename(tmp_path / "model.safetensors")
        for read in (
            lambda: read_best(tmp_path),
            lambda: load_state(tmp_path / "model.safetensors", state(), TrainConfig()),
        ):
            with pytest.raises(InputError, match="not a readable safetensors file"):
                read()
        assert not (tmp_path / "HACKED").exists()


RECORDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a list": lambda r: [r],
    "nothing": lambda _: None,
    "no epoch": lambda r: {k: v for k, v in r.items() if k != "epoch"},
    "epoch before the first": lambda r: r | {"epoch": -1},
    "epoch as text": lambda r: r | {"epoch": "3"},
    "epoch of hundreds of digits": lambda r: r | {"epoch": 10**300},
    "steps that are no number": lambda r: r | {"step": float("nan")},
    "endless seconds": lambda r: r | {"seconds": float("inf")},
    "metrics as a list": lambda r: r | {"metrics": [1]},
    "a metric as text": lambda r: r | {"metrics": {"hmean": "0.9"}},
    "settings as text": lambda r: r | {"config": "x"},
    "a scaler of texts": lambda r: r | {"scaler": {"scale": "x"}},
    "tuned settings nested": lambda r: r | {"tuned": {"a": {"b": {}}}},
}


@pytest.mark.parametrize("change", RECORDS.values(), ids=RECORDS.keys())
def test_a_record_of_another_form_is_refused(last: Path, change: Callable[..., Any]) -> None:
    rewrite(last, record=change)
    with pytest.raises(InputError, match=r"last\.safetensors: its state: "):
        load_state(last, state(), TrainConfig())


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, "\ufeff{}"])
def test_a_record_that_is_no_json_is_refused(last: Path, text: str) -> None:
    save_file(load_file(last), last, {"state": text})
    with pytest.raises(InputError, match=r"last\.safetensors: its state: not (valid|usable) JSON"):
        load_state(last, state(), TrainConfig())


def other(name: str, value: Callable[[Tensor], Tensor]) -> Callable[[dict], dict]:
    return lambda tensors: tensors | {name: value(tensors[name])}


TENSORS: dict[str, tuple[Callable[[dict], dict], str]] = {
    "missing weight": (
        lambda t: {k: v for k, v in t.items() if k != "model/0.weight"},
        r"model/missing 0\.weight",
    ),
    "unknown weight": (lambda t: t | {"model/x": torch.ones(1)}, "model/unexpected x"),
    "other shape": (
        other("model/0.weight", lambda v: v.reshape(2, 3)),
        r"model/0\.weight is \(2, 3\) instead of \(3, 2\)",
    ),
    "whole numbers": (
        other("model/0.weight", lambda v: v.to(torch.int32)),
        r"model/0\.weight is torch\.int32 instead of torch\.float32",
    ),
    "half precision": (other("model/0.bias", lambda v: v.half()), "float16 instead of"),
    "infinity": (
        other("model/0.weight", lambda v: torch.full_like(v, float("inf"))),
        r"model/0\.weight is not finite",
    ),
    "nan in the optimizer": (
        other("optimizer/0/exp_avg", lambda v: v * float("nan")),
        "optimizer/0/exp_avg is not finite numbers",
    ),
    "moments of another shape": (
        other("optimizer/0/exp_avg", lambda v: v[:1].clone()),
        r"optimizer/0/exp_avg is \(1, 2\) instead of \(3, 2\)",
    ),
    "no second moment": (
        lambda t: {k: v for k, v in t.items() if k != "optimizer/1/exp_avg_sq"},
        "missing optimizer/1/exp_avg_sq",
    ),
    "a parameter too many": (
        lambda t: t | {"optimizer/99/step": torch.ones(())},
        "unexpected optimizer/99/step",
    ),
    "a parameter from the end": (
        lambda t: t | {"optimizer/-1/step": torch.ones(())},
        "unexpected optimizer/-1/step",
    ),
    "no random state": (
        lambda t: {k: v for k, v in t.items() if k != "rng/cpu"},
        "missing rng/cpu",
    ),
    "a short random state": (
        other("rng/cpu", lambda v: v[:7].clone()),
        "rng/cpu is not a random state",
    ),
    "a random state of floats": (other("rng/cpu", Tensor.float), "rng/cpu is not a random state"),
}


@pytest.mark.parametrize(("change", "message"), TENSORS.values(), ids=TENSORS.keys())
def test_tensors_that_do_not_fit_change_nothing(
    last: Path, change: Callable[[dict], dict], message: str
) -> None:
    rewrite(last, tensors=change)
    fresh = state()
    before = {k: v.clone() for k, v in fresh.model.state_dict().items()}
    torch.manual_seed(7)
    drawn = torch.get_rng_state()
    with pytest.raises(InputError, match=rf"last\.safetensors: .*{message}"):
        load_state(last, fresh, TrainConfig())
    assert all(torch.equal(v, before[k]) for k, v in fresh.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert fresh.epoch == 0


def test_best_weights_are_finite_floats_of_the_models_shapes(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    for value, message in (
        (torch.full((3, 2), float("nan")), "weight is not finite"),
        (torch.ones(3, 2, dtype=torch.int64), r"weight is torch\.int64 instead of"),
        (torch.ones(2, 3), r"weight is \(2, 3\) instead of \(3, 2\)"),
    ):
        with pytest.raises(InputError, match=message):
            load_weights(model, {"weight": value, "bias": torch.zeros(3)}, tmp_path)
    half = {k: v.half() for k, v in model.state_dict().items()}
    load_weights(model, half, tmp_path)  # smaller floats are floats
    assert model.weight.dtype == torch.float32


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "9" * 5000, '{"train": 3}'])
def test_the_config_inside_the_weights_is_checked(tmp_path: Path, text: str) -> None:
    save_best(tmp_path, nn.Linear(2, 3).state_dict(), TrainConfig(), {})
    (tmp_path / "config.yaml").unlink()
    path = tmp_path / "model.safetensors"
    save_file(load_file(path), path, {"config": text})
    with pytest.raises(InputError, match=str(tmp_path)):
        read_best(tmp_path)


def test_the_config_beside_the_weights_cannot_build_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    best = tmp_path / "best"
    save_best(best, nn.Linear(2, 3).state_dict(), TrainConfig(), {})
    (best / "config.yaml").write_text("a: !!python/object/apply:os.mkdir [HACKED]\n")
    with pytest.raises(InputError, match=r"config\.yaml:1: not valid YAML"):
        read_best(best)
    assert not (tmp_path / "HACKED").exists()
