"""Settings between a probability map and polygons, and the values a training tries for them."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
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
MAX_SETTINGS = 20_000  # of a sweep; the tables of 500 pages then take 400 MB, twice while choosing
MAX_GROWN = 200  # combinations that find or grow regions anew, the expensive part


class PostprocessConfig(Section):
    thresh: Threshold = Field(0.3, description="probability above which a pixel is text")
    box_thresh: Probability = Field(0.5, description="smallest mean probability of a kept region")
    unclip: Unclip = Field(
        "ratio",
        description="growth of a shrunk region: area * unclip_ratio / length (ratio) or what "
        "undoes the shrink of a rectangle by shrink_ratio (exact), with shape=quad of the outline "
        "that the rectangle is then put around",
    )
    unclip_ratio: UnclipRatio = Field(1.6, description="growth with unclip=ratio")
    shrink_ratio: float = Field(
        0.4, gt=0, lt=1, description="for unclip=exact; not given it is targets.shrink_ratio"
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


class TriedValues(Section):
    """Values to try of post-processing settings, by name of the setting in PostprocessConfig."""

    def tried(self) -> dict[str, tuple[Any, ...]]:
        """The values to try; nothing for a setting that stays as stored."""
        return {k: tuple(v) for k, v in self.model_dump().items() if isinstance(v, tuple | list)}

    def own(self) -> frozenset[str]:
        """The settings whose values are our own, so that more of them may be tried."""
        fields = type(self).model_fields
        return frozenset(k for k, v in self.tried().items() if v == fields[k].default)


def combinations(tried: Mapping[str, Sequence[Any]], keys: Container[str]) -> int:
    """How many combinations of `keys` are tried (see `detector.postprocess.sweep.around`)."""
    counts = {key: len(values) for key, values in tried.items() if key in keys}
    shapes, growths = counts.pop("shape", 1), counts.pop("unclip", 1)
    ratios = counts.pop("unclip_ratio", 1)
    grown = shapes * ratios
    if growths == 2:  # exact uses no ratio, and quads alone are grown by one beside it
        grown = shapes + ratios
    elif "exact" in tried.get("unclip", ()):
        grown = shapes
    return math.prod(counts.values()) * grown


class SweepConfig(TriedValues):
    """The post-processing settings scored after each validation, beside the configured ones."""

    thresh: Tried[Threshold] = Field(
        (0.1, 0.15, 0.25),
        description="values of postprocess.thresh, as [a,b], and so below; null = as configured",
    )
    unclip_ratio: Tried[UnclipRatio] = None
    box_thresh: Tried[Probability] = tuple(i / 100 for i in range(20, 81, 5))
    max_candidates: Tried[Count] = None
    min_side_px: Tried[Side] = None
    shape: Tried[Shape] = ("quad", "polygon")
    score_mode: Tried[ScoreMode] = None
    dilate: Tried[bool] = None
    epsilon: Tried[Epsilon] = None
    unclip: Tried[Unclip] = ("ratio", "exact")
    choose: bool = Field(
        False,
        description="score every epoch, choose the best epoch and keep the weights at the best of "
        "these settings instead of the configured ones; scores are cross-fitted, between two "
        "halves of the pages dealt in blocks by name",
    )

    @model_validator(mode="after")
    def _check(self) -> SweepConfig:
        tried = self.tried()
        for keys, most, which in (
            (
                tried.keys() - CHOOSING,
                MAX_GROWN,
                "combinations of settings that change the regions",
            ),
            (tried.keys(), MAX_SETTINGS, "combinations"),
        ):
            if (total := combinations(tried, keys)) > most:
                lists = ", ".join(f"{len(v)} {key}" for key, v in tried.items() if key in keys)
                raise ValueError(
                    f"must make at most {most} {which}, since all are scored after each "
                    f"validation, got {total} of {lists}; list fewer values"
                )
        return self


class Grid(TriedValues):
    """The post-processing settings that a trained detector is tried with; null: the stored one."""

    thresh: Tried[Threshold] = (0.1, 0.2, 0.3, 0.4)
    box_thresh: Tried[Probability] = tuple(i / 100 for i in range(20, 91, 5))
    unclip: Tried[Unclip] = ("ratio", "exact")
    unclip_ratio: Tried[UnclipRatio] = (1.2, 1.6, 2.0)
    shape: Tried[Shape] = ("quad", "polygon")
    min_side_px: Tried[Side] = None
    max_candidates: Tried[Count] = None
    score_mode: Tried[ScoreMode] = None
    dilate: Tried[bool] = None
    epsilon: Tried[Epsilon] = None
