"""The best epoch of a training: `best/` and what lies beside it, always those of its state.

The state is written first and says which epoch is the best. It holds all that is kept of that
one, so a training that was killed before that was written writes it when it goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.core.files import write_text
from detector.core.weight_files import load_tensors
from detector.inference.checkpoint import WEIGHTS, save_best
from detector.model.dbnet import metadata_beside
from detector.training.storage.state_file import TrainingState

BOX_THRESH = "box_thresh.json"
_BEST = "best_"


def keep_best(
    folder: Path, weights: Mapping[str, Tensor], state: TrainingState, config: TrainConfig
) -> None:
    """Write `checkpoint/best/` and `box_thresh.json` of a training whose last epoch is the best.

    weights: those of that epoch, by name. `state` has its figures.
    """
    keep_box_thresh(folder, state.curve)
    figures = {
        name.removeprefix(_BEST): value
        for name, value in state.metrics.items()
        if name.startswith(_BEST) and name != "best_epoch"
    }
    chosen = with_chosen(config, state.tuned)
    save_best(_best(folder), weights, chosen, figures, metadata_beside(state.model))


def complete_best(
    folder: Path, state: TrainingState, config: TrainConfig, log: Callable[[str], None]
) -> None:
    """Write what a kill has kept from being written after `state` was; `log` is told.

    It is told too where `best/` is of another epoch than the best one up to a state that is older.
    """
    epoch, hmean = state.metrics.get("best_epoch"), state.metrics.get("best_hmean")
    if epoch is None or _hmean(_best(folder)) == hmean:
        return
    if epoch == state.epoch:
        keep_best(folder, state.evaluated.state_dict(), state, config)
        log(f"{_best(folder)}: was not of epoch {epoch:.0f} yet, so it is written now")
        return
    log(
        f"{_best(folder)}: is not of epoch {epoch:.0f}, the best one up to epoch {state.epoch}; "
        "the next better one takes its place"
    )


def weights_of(folder: Path) -> Path:
    """The file of the best weights of a training in this folder."""
    return _best(folder) / WEIGHTS


def _best(folder: Path) -> Path:
    return folder / "checkpoint" / "best"


def _hmean(best: Path) -> float | None:
    """The H-mean kept with the weights, which no two best epochs share; None if unreadable."""
    try:
        metadata = load_tensors(best / WEIGHTS)[1]
        found = json.loads(metadata["scores"])["hmean"]
    except (InputError, ValueError, LookupError, TypeError):
        return None
    return found if isinstance(found, float) else None


def with_chosen(config: TrainConfig, tuned: Mapping[str, Any]) -> TrainConfig:
    """The config to keep with the best weights: with the settings of a sweep that chooses."""
    if not config.sweep.choose:
        return config
    return with_values(config, {f"postprocess.{key}": value for key, value in tuned.items()})


def keep_box_thresh(folder: Path, curve: Mapping[str, Any]) -> None:
    """Write `folder/box_thresh.json`, or remove that of an older epoch when there is no curve."""
    if curve:
        write_text(folder / BOX_THRESH, json.dumps(curve))
    else:
        (folder / BOX_THRESH).unlink(missing_ok=True)
