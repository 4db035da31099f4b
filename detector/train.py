"""`python -m detector.train data.root=… [model.backbone=…]`: one training."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from detector.cli import log, run
from detector.config import TrainConfig
from detector.trainer import train


class TrainSettings(TrainConfig):
    output: Path = Field(Path("runs/train"), description="folder for checkpoints and curves")
    resume: bool = Field(False, description="continue the training in the output folder")
    config: Path | None = Field(
        None, description="YAML of settings to start from, such as best/config.yaml of a search"
    )


def main(settings: TrainSettings) -> int:
    config = TrainConfig.model_validate(
        {name: getattr(settings, name) for name in TrainConfig.model_fields}
    )
    last = train(config, settings.output, resume=settings.resume)
    best = last.checkpoint / "best"
    log(
        f"best H-mean {last.metrics['best_hmean']:.4f} (epoch {last.metrics['best_epoch']:.0f}), "
        f"IoU H-mean {last.metrics['best_iou_hmean']:.4f}\n"
        f"weights: {best}\n"
        f"score:   python -m detector.evaluate checkpoint={best} data.root={config.data.root}\n"
        f"use:     python -m detector.predict checkpoint={best} images=FOLDER output=pred.json\n"
        f"curves:  tensorboard --logdir {settings.output}"
    )
    return 0


if __name__ == "__main__":
    run(
        main,
        TrainSettings,
        program="python -m detector.train",
        description="Train one DBNet or DBNet++ detector and keep the weights with the best "
        "CLEval H-mean on the validation split.",
    )
