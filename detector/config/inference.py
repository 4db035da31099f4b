"""Settings that act when a trained detector is used, in the place of those stored with it.

They are those of the training, with the same rules and meanings; every command takes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, create_model, model_validator

from detector.config.input import DataConfig, PreprocessConfig
from detector.config.postprocess import PostprocessConfig
from detector.config.sections import Section, field_names, flatten
from detector.config.settings import TrainConfig
from detector.config.training import Amp, Device


class _Stored:
    """Stands for a value that was not given."""

    def __str__(self) -> str:
        return "(stored)"


def _replacing(section: type[Section], *names: str) -> type[Section]:
    """The settings of a section, or some of them, each with the stored value as its default."""
    fields: dict[str, Any] = {}
    for name in names or section.model_fields:
        info = section.model_fields[name]
        kind = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
        default = Field(_Stored(), validate_default=False, description=info.description)
        fields[name] = (kind, default)
    return create_model(f"Given{section.__name__}", __base__=Section, **fields)


if TYPE_CHECKING:  # which knows no classes that are made at run time
    GivenData = Section
    GivenPreprocess = Section
    GivenPostprocess = Section
else:
    GivenData = _replacing(DataConfig, "longest_side_px", "cache")
    GivenPreprocess = _replacing(PreprocessConfig)
    GivenPostprocess = _replacing(PostprocessConfig)
_SECTIONS = {"data": GivenData, "preprocess": GivenPreprocess, "postprocess": GivenPostprocess}
_KEYS = frozenset(f"{name}.{key}" for name, part in _SECTIONS.items() for key in part.model_fields)
_TRAINING = frozenset(field_names(TrainConfig)) - _KEYS

Checkpoints = Annotated[
    list[Path], BeforeValidator(lambda value: value if isinstance(value, list) else [value])
]


class Replaced(Section):
    """What is replaced of the settings that were stored with the weights."""

    data: GivenData = GivenData()
    preprocess: GivenPreprocess = GivenPreprocess()
    postprocess: GivenPostprocess = GivenPostprocess()

    @model_validator(mode="before")
    @classmethod
    def _refuse_training(cls, values: Any) -> Any:
        own = field_names(cls)
        given = flatten(values) if isinstance(values, dict) else {}
        if of_training := [key for key in given if key in _TRAINING and key not in own]:
            raise ValueError(
                f"{', '.join(of_training)}: only a training uses this, and the detector is trained "
                "already; leave it out"
            )
        return values

    def given(self) -> dict[str, Any]:
        """The values that were given, by dotted key as in TrainConfig."""
        given = flatten(self.model_dump(include=set(_SECTIONS), exclude_unset=True))
        return {key: value for key, value in given.items() if key in _KEYS}


class Views(Section):
    """The views of a page that are averaged; the default is the page itself."""

    scales: list[Annotated[float, Field(ge=0.1, le=4)]] = Field(
        [1.0],
        min_length=1,
        description="sizes of the page, 1 = as validated: tta.scales=[0.8,1,1.25]",
    )
    flip: bool = Field(False, description="also the mirror image of every size")


class Use(Replaced):
    """How a trained detector is used."""

    device: Device = Field("auto", description="where the model runs")
    amp: Amp = Field("auto", description="mixed precision")
    tta: Views = Views()


class DetectorSettings(Use):
    """Which detector a command uses, and how."""

    checkpoint: Checkpoints = Field(
        description="best/ folder of a training or a search, an ONNX file, or the name of a "
        "published detector (ppocrv6_small); several as [a, b], whose maps are averaged"
    )
