"""`python -m detector.models`: how large a detector is and how much work a page costs."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from pydantic import Field

from detector.config.answer import answer
from detector.config.cli import run
from detector.config.sections import Section
from detector.config.settings import ModelConfig, RunConfig, TrainConfig
from detector.inference.networks import new_model
from detector.model.cost import measure, table
from detector.model.graph.starts import NONE


class ModelsSettings(Section):
    model: ModelConfig = ModelConfig()
    backbones: list[str] = Field(
        [], description="several at once: [resnet18, convnext_tiny]; empty = model.backbone"
    )
    init: str = Field(
        "none", min_length=1, description="a whole detector in place of these, as train.init"
    )
    size: int = Field(
        640, ge=32, le=8192, multiple_of=32, description="side of the square image, pixels"
    )


def main(settings: ModelsSettings) -> int:
    names = settings.backbones or [settings.model.backbone]
    models = [settings.model.model_copy(update={"backbone": name}) for name in names]
    if settings.init != NONE:
        models = [settings.model]
    start = RunConfig(init=settings.init)
    configs = [TrainConfig(model=model, train=start) for model in models]
    costs = [measure(partial(new_model, config), settings.size) for config in configs]
    print(table(costs, settings.size))
    shared = settings.model.model_dump(exclude={"backbone", "weights", "step_k"})
    detectors = [asdict(c) | {"parameters": c.parameters, "macs": c.macs} for c in costs]
    answer({"size": settings.size, "model": shared, "detectors": detectors})
    return 0


if __name__ == "__main__":
    run(
        main,
        ModelsSettings,
        program="python -m detector.models",
        description="Parameters (millions) and multiply-accumulates (thousand millions, of one "
        "image) of detectors: backbone, the rest, and in total.",
    )
