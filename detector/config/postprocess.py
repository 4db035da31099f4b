"""Settings between a probability map and polygons, and the values a training tries for them."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from detector.config.input import Probability
from detector.config.sections import Section

Threshold = Annotated[float, Field(gt=0, lt=1)]
Unclip = Literal["ratio", "exact"]
UnclipRatio = Annotated[float, Field(ge=0, le=10)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Side = Annotated[float, Field(ge=0)]
Shape = Literal["quad", "polygon"]
ScoreMode = Literal["fast", "slow"]
Epsilon = Annotated[float, Field(ge=0, le=0.2)]

# These only choose among the regions of a map once they are grown; the others change the regions.
CHOOSING = ("box_thresh", "max_candidates", "min_side_px")
MAX_SETTINGS = 20_000  # of a sweep; the table of 500 pages then takes 240 MB
MAX_GROWN = 200  # combinations that find or grow regions anew, the expensive part


class PostprocessConfig(Section):
    thresh: Threshold = Field(0.3, description="probability above which a pixel is text")
    box_thresh: Probability = Field(0.5, description="smallest mean probability of a kept region")
    unclip: Unclip = Field(
        "ratio",
        description="growth of a shrunk region: area * unclip_ratio / length (ratio) or what "
        "undoes the shrink of a rectangle by shrink_ratio (exact)",
    )
    unclip_ratio: UnclipRatio = Field(1.6, description="growth with unclip=ratio")
    shrink_ratio: float = Field(
        0.4, gt=0, lt=1, description="targets.shrink_ratio of the training, for unclip=exact"
    )
    max_candidates: Count = Field(1000, description="regions kept, best score first")
    min_side_px: Side = Field(3.0, description="shortest side after growth, in model pixels")
    shape: Shape = Field("quad", description="rotated rectangle or outline")
    score_mode: ScoreMode = Field(
        "fast",
        description="mean probability over the contour (fast) or the simplified polygon (slow)",
    )
    dilate: bool = Field(False, description="2 x 2 dilation of the binary map before contours")
    epsilon: Epsilon = Field(
        0.002, description="outline simplification, a share of its length; 0 = none"
    )


def _several(value: Any) -> Any:
    if isinstance(value, list | tuple) and not value:
        raise ValueError("needs a value to try, or null for the stored one")
    return value if value is None or isinstance(value, list | tuple) else (value,)


Value = TypeVar("Value")
# Values of a post-processing setting, as [a,b] or one alone; None keeps the stored one.
Tried = Annotated[
    tuple[Value, ...] | None,
    BeforeValidator(_several),
    Field(description="values of the setting of this name, as [a,b]"),
]


class SweepConfig(Section):
    """The post-processing settings scored after each validation, beside the configured ones."""

    thresh: Tried[Threshold] = Field(
        (0.2, 0.3, 0.4),
        description="values of postprocess.thresh, as [a,b], and so below; null = as configured",
    )
    unclip_ratio: Tried[UnclipRatio] = (1.2, 1.4, 1.6, 1.8, 2.0)
    box_thresh: Tried[Probability] = tuple(i / 100 for i in range(30, 81, 5))
    max_candidates: Tried[Count] = None
    min_side_px: Tried[Side] = None
    shape: Tried[Shape] = None
    score_mode: Tried[ScoreMode] = None
    dilate: Tried[bool] = None
    epsilon: Tried[Epsilon] = None
    unclip: Tried[Unclip] = None
    choose: bool = Field(
        False,
        description="score every epoch, choose the best epoch and keep the weights at the best of "
        "these settings instead of the configured ones; scores are cross-fitted, between two "
        "halves of the pages dealt in blocks by name",
    )

    @model_validator(mode="after")
    def _check(self) -> SweepConfig:
        tried = {key: len(values) for key, values in self.tried().items()}
        grown = {key: count for key, count in tried.items() if key not in CHOOSING}
        for counts, most, which in (
            (grown, MAX_GROWN, "combinations of settings that change the regions"),
            (tried, MAX_SETTINGS, "combinations"),
        ):
            if (total := math.prod(counts.values())) > most:
                product = " x ".join(f"{count} {key}" for key, count in counts.items())
                raise ValueError(
                    f"must make at most {most} {which}, since all are scored after each "
                    f"validation, got {product} = {total}; list fewer values"
                )
        return self

    def tried(self) -> dict[str, tuple[Any, ...]]:
        """The values to try, by name of the setting in PostprocessConfig."""
        chosen = self.model_dump(exclude={"choose"}, exclude_none=True)
        return {key: tuple(values) for key, values in chosen.items()}


class Grid(Section):
    """The post-processing settings that a trained detector is tried with; null: the stored one."""

    thresh: Tried[Threshold] = (0.2, 0.3, 0.4, 0.5)
    box_thresh: Tried[Probability] = tuple(i / 100 for i in range(30, 91, 5))
    unclip: Tried[Unclip] = None
    unclip_ratio: Tried[UnclipRatio] = (1.2, 1.4, 1.6, 1.8, 2.0)
    shape: Tried[Shape] = ("quad", "polygon")
    min_side_px: Tried[Side] = None
    max_candidates: Tried[Count] = None
    score_mode: Tried[ScoreMode] = None
    dilate: Tried[bool] = None
    epsilon: Tried[Epsilon] = None

    def tried(self) -> dict[str, tuple[Any, ...]]:
        """The values to try, by name of the setting in PostprocessConfig."""
        return {key: tuple(v) for key, v in self.model_dump(exclude_none=True).items()}
