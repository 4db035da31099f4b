"""The readers of search spaces and of checkpoints, and what each is given."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml
from fuzz_inputs import Target, as_bytes, as_json, changed, damaged, with_raw
from safetensors.torch import save_file
from torch import nn

from detector.config.settings import TrainConfig
from detector.core.weight_files import fault_of
from detector.inference.checkpoint import load_weights, read_best
from detector.training.storage.state_file import TrainingState, load_state, save_state
from orchestrator.space.dry_run import draws
from orchestrator.space.files import available_spaces
from orchestrator.space.search_space import load_space

TAGS = (
    *(b"!!python/object/apply:os.getcwd []", b"&a [*a]", b"*a"),
    *(b"!!int x", b"!!binary ~", b"<<: ", b'"\\e[31m"'),
)


def space(folder: Path) -> Target:
    documents = [yaml.safe_load(path.read_text()) for path in available_spaces().values()]
    documents += [{"extends": "smoke", "fixed": {"train.batch_size": 8}, "parameters": {}}]
    file = folder / "space.yaml"
    for name in available_spaces():  # builds each backbone once, which takes a second or two
        load_space(name, gpu=False)

    def text(document: Any) -> bytes:
        dumped = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        return as_bytes(with_raw(dumped, lambda name: f"'{name}'"))

    def read(content: bytes) -> None:
        file.write_bytes(content)
        loaded = load_space(str(file), gpu=False)
        next(draws(loaded, seed=0))
        loaded.to_yaml()

    def make(rng: Random) -> bytes:
        return damaged(rng, text(changed(rng, documents)), TAGS)

    # Without anything to search, the whole space is meant, not a line of its file.
    parents = "/etc/passwd"  # some extend it
    return Target(make, read, (str(file), parents, "parameters: nothing is left to search"))


def checkpoint(folder: Path) -> Target:
    last, best = folder / "last.safetensors", folder / "best"
    save_state(last, _state(), TrainConfig())
    parts = _parts(last)
    best.mkdir()
    save_file(nn.Linear(2, 3).state_dict(), best / "model.safetensors", {"config": "{}"})
    weights = _parts(best / "model.safetensors")

    def read(content: tuple[bool, bytes, bytes]) -> None:
        is_state, file, config = content
        path = last if is_state else best / "model.safetensors"
        path.write_bytes(file)
        fault_of(path)
        if is_state:
            state = _state()
            load_state(path, state, TrainConfig())
            assert state.epoch >= 0 <= state.step
        else:
            (best / "config.yaml").write_bytes(config)
            tensors, _ = read_best(best)
            model = nn.Linear(2, 3)
            load_weights(model, tensors, path)
            assert all(bool(p.isfinite().all()) for p in model.parameters())

    settings_text = yaml.safe_dump(TrainConfig().model_dump(mode="json"), sort_keys=False)
    config = yaml.safe_load(settings_text)

    def make(rng: Random) -> tuple[bool, bytes, bytes]:
        if rng.random() < 0.5:
            return True, _safetensors(rng, *parts), b""
        text = as_bytes(yaml.safe_dump(changed(rng, [config]), allow_unicode=True))
        return False, _safetensors(rng, *weights), text

    return Target(make, read, (str(folder),))


def _safetensors(rng: Random, header: dict[str, Any], data: bytes) -> bytes:
    """A file with its header, the record in it or its bytes changed."""
    document = changed(rng, [header]) if rng.random() < 0.5 else dict(header)
    about = document.get("__metadata__")
    if isinstance(about, dict) and rng.random() < 0.5:
        about = dict(about)
        for key in ("state", "config"):
            if isinstance(about.get(key), str):
                record = json.loads(header["__metadata__"][key])
                about[key] = as_json(changed(rng, [record]))
        document["__metadata__"] = about
    text = as_bytes(as_json(document))
    size = rng.choice([len(text)] * 8 + [0, 2**63, 2**40, len(text) + 1])
    values = rng.choice([data, data, data, b"\xff" * len(data), data[:-1], data + b"\0"])
    return damaged(rng, struct.pack("<Q", size) + text + values)


def _parts(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def _state() -> TrainingState:
    torch.manual_seed(0)
    model = nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return TrainingState(model, None, optimizer, torch.amp.GradScaler("cpu", enabled=False))


TARGETS = {"space": space, "checkpoint": checkpoint}
