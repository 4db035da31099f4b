"""What a training was made from, kept as `record.json` beside what came of it.

The record is enough to repeat a training (`detector.training.reproduction`): its whole config
with the seed, fingerprints of the pages and of the first weights, the code, and all that
decides how numbers are rounded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from detector.config.sections import Section, describe_faults
from detector.config.settings import TrainConfig, as_kept
from detector.core.errors import InputError
from detector.core.files import write_text
from detector.model.graph.starts import NONE
from detector.training.storage.environment import Code, Environment
from detector.training.storage.fingerprint import Pages

RECORD = "record.json"
VERSION = 1  # of the record; raise it when fields or fingerprints change their meaning

_SCRATCH = "starting from scratch"  # in the line of `load_backbone_weights`


class Weights(Section):
    """What was there before the first step: where it is from, as a line, and its digest.

    That is the backbone, or of a whole detector (train.init) all that was taken of it, with its
    licence where that is known.
    """

    source: str
    digest: str
    licence: str = ""

    @property
    def scratch(self) -> bool:
        """Whether these are new random weights, which the seed and torch's version decide."""
        return _SCRATCH in self.source


class Provenance(Section):
    """All that a training was made from; `train` and `val` are what it learnt and was scored on.

    `extended` has the later values of `train.epochs` of a training that went on when it had all
    the epochs of `config`, and then of each value before: its rates are not those of one that had
    as many from the start.
    """

    version: Literal[1]
    config: TrainConfig
    extended: tuple[int, ...] = ()
    train: Pages
    val: Pages
    weights: Weights
    code: Code
    environment: Environment


def write_record(folder: Path, record: Provenance) -> None:
    """Write the record of the training in `folder`."""
    write_text(folder / RECORD, json.dumps(record.model_dump(mode="json"), indent=1) + "\n")


def record_extension(folder: Path, done: int, epochs: int) -> None:
    """Put into the record of a training that it goes on to `epochs` when `done` are done."""
    with suppress(InputError):  # there is none, which was told when it was resumed
        record = read_record(folder)
        before = [known for known in record.extended if known <= done]
        write_record(folder, record.model_copy(update={"extended": (*before, epochs)}))


def read_record(folder: Path) -> Provenance:
    """The record of the training in `folder`; InputError when there is none that can be used."""
    path = folder / RECORD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path}: no such file; a training writes it when it starts, but older ones have none: "
            "those are trained again with config=FOLDER/checkpoint/best/config.yaml"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); restore the file") from None
    found = content.get("version") if isinstance(content, dict) else None
    if found != VERSION:
        raise InputError(
            f"{path}: must be a record of version {VERSION}, got {found!r}; use the version of "
            "this program that wrote it"
        )
    try:
        if isinstance(content.get("config"), dict):
            content["config"] = as_kept(content["config"])
        return Provenance.model_validate(content)
    except ValidationError as error:
        lines = describe_faults(error, Provenance)
        raise InputError("\n".join(f"{path}: {line}" for line in lines)) from None


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A digest of tensors with their names, types and shapes, wherever they are stored."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def require_same(recorded: Provenance, now: Provenance) -> None:
    """Raise InputError, with what differs, unless data and weights are those recorded."""
    faults = other_data(recorded, now)
    old, new = recorded.weights, now.weights
    if old.digest != new.digest and not (old.scratch and new.scratch):
        key = "model.weights" if now.config.train.init == NONE else "train.init"
        faults.append(
            f"{key}: {old.source!r} (digest {old.digest[:12]}) in the record, "
            f"{new.source!r} (digest {new.digest[:12]}) now"
        )
    if faults:
        raise InputError(
            "from: the training cannot be repeated, since it started from something else; "
            "restore that, or say where it is with data.root, data.exclude, model.weights or "
            "train.init\n" + "\n".join(faults)
        )


def other_data(recorded: Provenance, now: Provenance) -> list[str]:
    """A line for each thing that differs in the pages of a split, of what is known of both."""
    lines = []
    for old, new in ((recorded.train, now.train), (recorded.val, now.val)):
        counts = [
            f"{getattr(old, name)} {name} in the record, {getattr(new, name)} now"
            for name in ("pages", "words")
            if getattr(old, name) != getattr(new, name)
        ]
        if counts:
            lines.append(f"split {new.split!r}: {', '.join(counts)}")
            continue
        if _differ(old.sizes, new.sizes) or _differ(old.images, new.images):
            lines.append(f"split {new.split!r}: image files were renamed or have other content")
        if old.annotations != new.annotations:
            lines.append(f"split {new.split!r}: words have other outlines, texts or ignore flags")
    return lines


def _differ(old: str | None, new: str | None) -> bool:
    """Whether two digests are known and not the same."""
    return None not in (old, new) and old != new


def other_rounding(recorded: Provenance, now: Provenance) -> list[str]:
    """A line for each difference that may change the last bits of a result, and so its scores."""
    old, new = _decides_bits(recorded), _decides_bits(now)
    if recorded.code.digest != now.code.digest:  # commits differ with other files too
        old["code"], new["code"] = str(recorded.code), str(now.code)
    return [
        f"{name}: {old.get(name, 'unknown')} in the record, {new.get(name, 'unknown')} now; "
        f"the same bits are promised only for the same {name}"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]


def _decides_bits(record: Provenance) -> dict[str, str]:
    environment = record.environment
    found = {f"version of {name}": value for name, value in environment.versions.items()}
    found["platform"] = environment.platform
    found["CPU capability"] = environment.cpu_capability
    found["number of threads"] = str(environment.threads)
    found["device"] = environment.device
    settings = record.config.train
    found["train.processes"] = str(settings.processes)
    layout = "null" if settings.channels_last is None else str(settings.channels_last).lower()
    found["train.channels_last"] = layout
    if record.weights.scratch:
        found["random first weights"] = record.weights.digest[:12]
    return found
