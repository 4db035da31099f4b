"""A training repeated from its record alone, and compared with what the first one gave."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from detector.config.settings import PLACEMENT, TrainConfig, with_values
from detector.core.errors import InputError
from detector.inference.checkpoint import WEIGHTS, read_best
from detector.training.epoch_end import EpochReport
from detector.training.storage.generations import has_state
from detector.training.storage.provenance import RECORD, Provenance, read_record
from detector.training.storage.state_check import read_state_record
from detector.training.trainer import train

# Placed elsewhere, a list of exclusions is still known by what it leaves of the words, and a whole
# detector by what was taken of it.
MAY_BE_GIVEN = (*PLACEMENT, "data.exclude", "train.init")
_LISTED = 20  # trials named in a message


@dataclass(frozen=True, eq=False)
class Result:
    """What a training gave: its best weights, their H-mean and epoch, and all epochs it had."""

    tensors: dict[str, Tensor]
    hmean: float
    best_epoch: int
    epochs: int


@dataclass(frozen=True)
class Reproduction:
    """A repeated training; `differs` says that it gave something else, and `verdict` what."""

    config: TrainConfig
    last: EpochReport
    verdict: str
    differs: bool


def reproduce(
    source: Path, given: Mapping[str, Any], output: Path, *, resume: bool = False
) -> Reproduction:
    """Repeat the training recorded in the folder `source` and compare the best weights.

    `given` has settings by dotted key that say where it runs, the only ones that may be given;
    the number of threads is the recorded one unless it is among them. Raises InputError for
    other settings, a missing record, and data or weights that are not those recorded.
    """
    if output.resolve() == source.resolve():
        raise InputError(f"output: {output} is the training to repeat; choose another folder")
    record = read_record(source)
    before = read_result(source)
    differences: list[str | None] = []

    def compare(report: EpochReport) -> None:
        if before is not None and report.epoch == before.best_epoch:
            differences.append(difference(before, report))

    for config in _stages(record, placed(record, given), output, resume=resume):
        last = train(config, output, report=compare, resume=resume, expected=record)
        resume = True
    if before is None:
        verdict = f"trained as recorded; {source} has no weights to compare with"
        return Reproduction(config, last, verdict, differs=False)
    if not differences and last.metrics["best_epoch"] > before.epochs:
        verdict = (
            f"not compared: this training was resumed when it was past the {before.epochs} epochs "
            "of the first one and has kept better weights; repeat it in another output folder"
        )
        return Reproduction(config, last, verdict, differs=False)
    found = differences[0] if differences else difference(before, last)
    had = "" if before.epochs == last.epoch else f" (in the {before.epochs} epochs that it had)"
    if found is not None:
        return Reproduction(config, last, f"differs{had}: {found}", differs=True)
    verdict = (
        f"reproduced{had}: H-mean {before.hmean:.4f}, as recorded, and the best weights "
        f"(epoch {before.best_epoch}) have the same bits"
    )
    return Reproduction(config, last, verdict, differs=False)


def _stages(
    record: Provenance, config: TrainConfig, output: Path, *, resume: bool
) -> list[TrainConfig]:
    """The configs to train with one after another: more than one where it was extended.

    With `resume` those that the training in `output` has gone beyond are left out.
    """
    every = [config, *(with_values(config, {"train.epochs": n}) for n in record.extended)]
    begun = 0
    if resume and has_state(output / "checkpoint"):
        with suppress(InputError):
            begun = len(read_record(output).extended)
    return every[min(begun, len(every) - 1) :]


def find_training(folder: Path, trial: str | None) -> Path:
    """The folder of a training: `folder` itself, or that of a trial of the run in `folder`.

    `trial` is a number, with or without leading zeros. InputError when there is no such trial
    or more than one, naming those there are.
    """
    trials = sorted(path for path in (folder / "trials").glob("*") if path.is_dir())
    if trial is None:
        if trials and not (folder / RECORD).exists():
            raise InputError(
                f"from: {folder} is the run of a search; add trial=ID, {_there_are(trials)}"
            )
        return folder
    if not (trial.isascii() and trial.isdigit()):
        raise InputError(f"trial: must be the number of a trial such as 3 or 00003, got {trial!r}")
    if not trials:
        raise InputError(
            f"trial: {folder} has no folder of trials; give the folder of a run, as in "
            "from=runs/RUN, or leave trial out"
        )
    found = [path for path in trials if _number(path) == int(trial)]
    if not found:
        raise InputError(f"trial: {folder} has no trial {int(trial)}, {_there_are(trials)}")
    if len(found) > 1:
        raise InputError(
            f"trial: {int(trial)} could be {' or '.join(path.name for path in found)}; "
            f"choose by the folder, as in from={found[0]}"
        )
    return found[0]


def _number(folder: Path) -> int | None:
    digits = folder.name.partition("_")[0]
    return int(digits) if digits.isascii() and digits.isdigit() else None


def _there_are(trials: list[Path]) -> str:
    names = [path.name for path in trials[:_LISTED]]
    more = f" and {len(trials) - _LISTED} more" if len(trials) > _LISTED else ""
    return f"one of {', '.join(names)}{more}"


def placed(record: Provenance, given: Mapping[str, Any]) -> TrainConfig:
    """The recorded config, run as `given` says; InputError when that would change more."""
    refused = [key for key in given if key not in MAY_BE_GIVEN]
    if "config" in refused:  # the others may be from its file
        refused = ["config"]
    if refused:
        raise InputError(
            f"{', '.join(refused)}: a training is repeated with the settings of its record; leave "
            f"that out (beside from may stand output, resume, trial, {', '.join(MAY_BE_GIVEN)})"
        )
    environment = record.environment
    values: dict[str, Any] = {"train.threads": environment.threads}
    if environment.device == "cpu":
        values["train.device"] = "cpu"
    return with_values(record.config, values | dict(given))


def read_result(folder: Path) -> Result | None:
    """What the training in `folder` gave; None when its checkpoints are not there."""
    last = folder / "checkpoint" / "last.safetensors"
    if not last.is_file() or not (last.parent / "best" / WEIGHTS).is_file():
        return None
    try:
        with safe_open(last, framework="pt") as file:
            record = read_state_record(last, file.metadata() or {})
        hmean, best_epoch = record.metrics["best_hmean"], int(record.metrics["best_epoch"])
    except (SafetensorError, OSError, KeyError, ValueError, OverflowError):
        raise InputError(
            f"{last}: not the state of a training, so there is nothing to compare with; "
            "restore the file, or delete it to train without comparing"
        ) from None
    return Result(read_best(last.parent / "best")[0], hmean, best_epoch, record.epoch)


def difference(before: Result, report: EpochReport) -> str | None:
    """How the best weights up to `report` differ from those of `before`; None for the same bits."""
    tensors = read_best(report.checkpoint / "best")[0]
    hmean, epoch = report.metrics["best_hmean"], int(report.metrics["best_epoch"])
    names = sorted(before.tensors.keys() | tensors.keys())
    pairs = [(before.tensors.get(name), tensors.get(name)) for name in names]
    others = [pair for pair in pairs if not _equal(*pair)]
    if not others and hmean == before.hmean:
        return None
    gaps = [
        float((a.double() - b.double()).abs().max())
        for a, b in others
        if a is not None and b is not None and a.shape == b.shape
    ]
    return (
        f"H-mean {hmean:.4f} in epoch {epoch}, recorded is {before.hmean:.4f} in epoch "
        f"{before.best_epoch}; {len(others)} of {len(names)} tensors of the best weights are not "
        f"the same, by up to {max(gaps, default=0.0):.2g}"
    )


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is not None and b is not None and torch.equal(a, b)
