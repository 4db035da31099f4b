"""Thousands of broken and hostile inputs for every reader of files that others may have written.

`python benchmarks/fuzz.py [examples=10000] [seed=1] [only=annotations]` prints a table: how many
inputs a reader was given, how many it refused with one clean message that names the file, how
many it took, and how many ended in anything else, which is a bug and is shown. Exit code 1 with
such.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import torch
import yaml
from fuzz_inputs import as_bytes, as_json, changed, damaged, with_raw
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from timing import run
from torch import nn

from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.core.weight_files import fault_of
from detector.data.labels.annotations import scan_split
from detector.inference.checkpoint import load_weights, read_best
from detector.training.storage.state_file import TrainingState, load_state, save_state
from orchestrator.space.dry_run import draws
from orchestrator.space.files import available_spaces
from orchestrator.space.search_space import load_space

DEFAULTS = {"examples": 10_000, "seed": 1, "only": None}
BOX = [[10, 20], [50, 20], [50.5, 40], [10, 40]]
WORD = {"points": BOX, "transcription": "합계", "language": ["ko"], "ignore": False}
CURVE = {"points": [[60, 5], [70, 3], [80, 5], [80, 12], [70, 10], [60, 12]]}
PAGE = {"img_w": 100, "img_h": 80, "words": {"0001": WORD, "0002": CURVE}}
LABELS = (
    "\ufeff10,20,50,20,50,40,10,40,합계\r\n60,5,90,5,90,15,60,15,1,000\n5,60,30,60,30,70,5,70,###\n"
)
TAGS = (
    *(b"!!python/object/apply:os.getcwd []", b"&a [*a]", b"*a"),
    *(b"!!int x", b"!!binary ~", b"<<: ", b'"\\e[31m"'),
)
FIELDS = (b",", b"1e400", b"nan", b"9" * 400, b"\0", b"\xff\xfe", b"\r", "\u2028".encode(), b"-")


@dataclass
class Counts:
    """What became of the inputs of one reader; `others` are the errors that are not clean."""

    inputs: int = 0
    refused: int = 0
    taken: int = 0
    others: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """A reader: `inputs` are what `read` is given; messages have one of `names` in them."""

    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], None]
    names: tuple[str, ...]


def annotations(folder: Path) -> Target:
    root = _dataset(folder / "native")
    (root / "jsons").mkdir()
    file = root / "jsons" / "train.json"
    documents = [{"images": {"a.jpg": PAGE, "b.png": PAGE | {"words": {}}, "c.jpg": PAGE}}]

    def read(content: bytes) -> None:
        file.write_bytes(content)
        _check_pages(root)

    texts = changed(documents).map(lambda d: as_bytes(as_json(d)))
    return Target(texts.flatmap(damaged), read, (str(root),))


def icdar(folder: Path) -> Target:
    root = _dataset(folder / "icdar")
    labels = root / "labels" / "train"
    labels.mkdir(parents=True)
    content = LABELS.encode()

    def read(files: tuple[bytes, bytes]) -> None:
        for name, content in zip(("gt_a.txt", "b.txt"), files, strict=True):
            (labels / name).write_bytes(content)
        _check_pages(root)

    return Target(st.tuples(_lines(content), damaged(content, FIELDS)), read, (str(root),))


@st.composite
def _lines(draw: st.DrawFn, content: bytes) -> bytes:
    """Lines of fields, some of them exchanged for others."""
    numbers = st.integers(-100, 200).map(lambda n: str(n).encode()) | st.sampled_from(FIELDS)
    odd = numbers | st.text(max_size=6).map(as_bytes)
    lines = [line.split(b",") for line in content.splitlines()]
    for _ in range(draw(st.integers(0, 5))):
        fields = draw(st.sampled_from(lines))
        fields[draw(st.integers(0, len(fields) - 1))] = draw(odd)
        fields += draw(st.lists(odd, max_size=12))
    return b"\n".join(b",".join(fields) for fields in lines)


def space(folder: Path) -> Target:
    documents = [yaml.safe_load(path.read_text()) for path in available_spaces().values()]
    documents += [{"extends": "smoke", "fixed": {"train.batch_size": 8}, "parameters": {}}]
    file = folder / "space.yaml"

    def text(document: Any) -> bytes:
        dumped = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        return as_bytes(with_raw(dumped, lambda name: f"'{name}'"))

    def read(content: bytes) -> None:
        file.write_bytes(content)
        loaded = load_space(str(file), gpu=False)
        next(draws(loaded, seed=0))
        loaded.to_yaml()

    inputs = changed(documents).map(text).flatmap(lambda content: damaged(content, TAGS))
    # Without anything to search, the whole space is meant, not a line of its file.
    parents = "/etc/passwd"  # some extend it
    return Target(inputs, read, (str(file), parents, "parameters: nothing is left to search"))


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
    configs = changed([yaml.safe_load(settings_text)]).map(
        lambda c: as_bytes(yaml.safe_dump(c, allow_unicode=True))
    )
    states = st.tuples(st.just(True), _safetensors(*parts), st.just(b""))
    others = st.tuples(st.just(False), _safetensors(*weights), configs)
    return Target(states | others, read, (str(folder),))


@st.composite
def _safetensors(draw: st.DrawFn, header: dict[str, Any], data: bytes) -> bytes:
    """A file with its header, the record in it or its bytes changed."""
    document = draw(changed([header])) if draw(st.booleans()) else dict(header)
    about = document.get("__metadata__")
    if isinstance(about, dict) and draw(st.booleans()):
        about = dict(about)
        for key in ("state", "config"):
            if isinstance(about.get(key), str):
                record = json.loads(header["__metadata__"][key])
                about[key] = as_json(draw(changed([record])))
        document["__metadata__"] = about
    text = as_bytes(as_json(document))
    size = draw(st.sampled_from([len(text)] * 8 + [0, 2**63, 2**40, len(text) + 1]))
    values = draw(st.sampled_from([data, data, data, b"\xff" * len(data), data[:-1], data + b"\0"]))
    return draw(damaged(struct.pack("<Q", size) + text + values))


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


def _dataset(root: Path) -> Path:
    images = root / "images" / "train"
    images.mkdir(parents=True)
    for name in ("a.jpg", "b.png", "C.JPG"):
        Image.new("RGB", (100, 80), "white").save(images / name, "PNG")
    (root / "a.jpg").write_bytes(b"outside of the folder of images")
    return root


def _check_pages(root: Path) -> None:
    """Read the split, and see that nothing but pages of its folder with usable words came."""
    split = scan_split(root, "train")
    for page in split.pages:
        assert page.path.parent == root / "images" / "train"
        for word in page.words:
            assert word.points.dtype == np.float32
            assert np.isfinite(word.points).all()
            assert 4 <= len(word.points) <= 1000
            assert np.abs(word.points).max() <= 2**20


TARGETS = {"annotations": annotations, "icdar": icdar, "space": space, "checkpoint": checkpoint}


def fuzz(name: str, folder: Path, *, examples: int, seed: int) -> Counts:
    """Give one reader so many inputs, the same ones for the same seed."""
    target, counts = TARGETS[name](folder), Counts()

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def once(content: Any) -> None:
        counts.inputs += 1
        try:
            target.read(content)
            counts.taken += 1
        except InputError as error:
            if any(name in str(error) for name in target.names) and len(str(error)) < 20_000:
                counts.refused += 1
            else:
                counts.others.append(f"a message without the file, or endless: {error!r:.300}")
        except BaseException as error:  # whatever it is, it is what is looked for
            if isinstance(error, KeyboardInterrupt):
                raise
            counts.others.append(f"{type(error).__name__}: {error!s:.200} from {content!r:.400}")

    once()
    return counts


def main(options: dict[str, Any]) -> int:
    """Print the table, a row for each reader; 1 when some input ended in anything but its two."""
    only = options["only"]
    if only is not None and only not in TARGETS:
        raise InputError(f"only: there is no reader {only!r}; there are {', '.join(TARGETS)}")
    torch.set_num_threads(1)
    wrong = 0
    print(f"{'reader':<14}{'inputs':>8}{'clean errors':>14}{'taken':>8}{'anything else':>15}")
    with tempfile.TemporaryDirectory() as folder:
        for name in TARGETS if only is None else [only]:
            place = Path(folder) / name
            place.mkdir()
            os.chdir(place)  # a space may be named by a path from here
            counts = fuzz(name, place, examples=options["examples"], seed=options["seed"])
            figures = counts.inputs, counts.refused, counts.taken, len(counts.others)
            print(f"{name:<14}{figures[0]:>8}{figures[1]:>14}{figures[2]:>8}{figures[3]:>15}")
            for text in sorted(set(counts.others), key=len)[:10]:
                print(f"  {text}")
            sys.stdout.flush()
            wrong += len(counts.others)
    return int(wrong > 0)


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
