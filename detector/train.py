"""`python -m detector.train data.root=… [model.backbone=…]`: one training.

`from=runs/RUN trial=ID` repeats one from its record alone.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from detector.config.answer import answer
from detector.config.cli import log, run
from detector.config.sections import flatten
from detector.config.settings import TrainConfig
from detector.core.commands import command
from detector.core.errors import InputError, JobError
from detector.core.files import locked, require_writable
from detector.training.epoch_end import EpochReport
from detector.training.monitor import show_box_thresh
from detector.training.reproduction import find_training, reproduce
from detector.training.trainer import train


class TrainSettings(TrainConfig):
    model_config = ConfigDict(populate_by_name=True)

    output: Path = Field(Path("runs/train"), description="folder for checkpoints and curves")
    resume: bool = Field(False, description="continue the training in the output folder")
    config: Path | None = Field(
        None, description="YAML of settings to start from, such as best/config.yaml of a search"
    )
    source: Path | None = Field(
        None,
        alias="from",
        description="from=FOLDER repeats the training in that folder, or trial=ID of the run of a "
        "search, from its record alone",
    )
    trial: str | None = Field(None, description="number of the trial to repeat, such as 3")


def main(settings: TrainSettings) -> int:
    require_writable("output", settings.output, folder=True)
    if settings.trial is not None and settings.source is None:
        raise InputError("trial: names a trial of a run to repeat; add from=runs/RUN")
    with locked(settings.output, f"output: another training is at work in {settings.output}", log):
        return _train(settings) if settings.source is None else _repeat(settings, settings.source)


def _train(settings: TrainSettings) -> int:
    config = TrainConfig.model_validate(
        {name: getattr(settings, name) for name in TrainConfig.model_fields}
    )
    last = train(config, settings.output, resume=settings.resume)
    show_box_thresh(settings.output)
    _tell(last, config, settings.output)
    return 0


def _repeat(settings: TrainSettings, source: Path) -> int:
    folder = find_training(source, settings.trial)
    done = reproduce(folder, _given(settings), settings.output, resume=settings.resume)
    _tell(done.last, done.config, settings.output)
    answer({"repeated": folder, "verdict": done.verdict, "differs": done.differs})
    if done.differs:
        raise JobError(done.verdict)
    log(done.verdict)
    return 0


def _given(settings: TrainSettings) -> dict[str, Any]:
    """The settings of the training itself that the user gave, by dotted key."""
    own = {"output", "resume", "source", "trial"}
    return flatten(settings.model_dump(exclude_unset=True, exclude=own))


def _tell(last: EpochReport, config: TrainConfig, output: Path) -> None:
    best = last.checkpoint / "best"
    answer({"output": output, "weights": best, "epochs": last.epoch, "metrics": last.metrics})
    score = {"checkpoint": best, "data.root": config.data.root}
    use = {"checkpoint": best, "images": "FOLDER", "output": "pred.json"}
    log(
        f"best H-mean {last.metrics['best_hmean']:.4f} (epoch {last.metrics['best_epoch']:.0f}), "
        f"IoU H-mean {last.metrics['best_iou_hmean']:.4f}\n"
        f"weights: {best}\n"
        f"score:   {command('detector.evaluate', score)}\n"
        f"use:     {command('detector.predict', use)}\n"
        f"curves:  tensorboard --logdir {shlex.quote(str(output))}"
    )


if __name__ == "__main__":
    run(
        main,
        TrainSettings,
        program="python -m detector.train",
        description="Train one DBNet or DBNet++ detector and keep the weights with the best "
        "CLEval H-mean on the validation split.",
    )
