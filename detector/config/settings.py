"""Every setting of the detector, with its default, range and unit.

Sections are frozen pydantic models, so a config is checked whole when it is built and
all faults are reported together. The dotted paths (`loss.negative_ratio`) are the keys of
the command line and of the search spaces; `--help` is made from the descriptions in the files
`config_*.py`.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError, model_validator

from detector.config.input import (
    LONGEST_PX,
    AugmentConfig,
    DataConfig,
    PreprocessConfig,
    TargetConfig,
)
from detector.config.postprocess import PostprocessConfig, SweepConfig
from detector.config.sections import Section, describe_faults, flatten, nest
from detector.config.training import LossConfig, ModelConfig, OptimizerConfig, RunConfig
from detector.core.errors import InputError

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PostprocessConfig",
    "PreprocessConfig",
    "RunConfig",
    "SweepConfig",
    "TargetConfig",
    "TrainConfig",
    "as_kept",
    "network_name",
    "with_values",
]


class TrainConfig(Section):
    """One training, complete: the same config gives the same weights on a CPU."""

    data: DataConfig = DataConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    augment: AugmentConfig = AugmentConfig()
    targets: TargetConfig = TargetConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: RunConfig = RunConfig()
    postprocess: PostprocessConfig = PostprocessConfig()
    sweep: SweepConfig = SweepConfig()

    @model_validator(mode="before")
    @classmethod
    def _follow(cls, values: Any) -> Any:
        """What unclip=exact undoes is what the training does, unless it is given."""
        if not isinstance(values, dict):
            return values
        trained, own = values.get("targets"), values.get("postprocess", {})
        if not isinstance(trained, dict) or not isinstance(own, dict):
            return values
        if "shrink_ratio" not in trained:
            return values
        return values | {"postprocess": {"shrink_ratio": trained["shrink_ratio"]} | own}

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        trained, undone = self.targets.shrink_ratio, self.postprocess.shrink_ratio
        if self.postprocess.unclip == "exact" and undone != trained:
            raise ValueError(
                f"postprocess.shrink_ratio must equal targets.shrink_ratio with "
                f"postprocess.unclip=exact, got {undone} and {trained}; "
                f"set postprocess.shrink_ratio={trained}"
            )
        if "exact" in (self.sweep.unclip or ()) and undone != trained:
            raise ValueError(
                f"postprocess.shrink_ratio must equal targets.shrink_ratio with exact in "
                f"sweep.unclip, got {undone} and {trained}; set postprocess.shrink_ratio={trained}"
            )
        longest, share = self.data.longest_side_px, self.preprocess.test_scale
        if longest is not None and not 32 <= longest * share <= LONGEST_PX:
            raise ValueError(
                "preprocess.test_scale times data.longest_side_px must lie between 32 and "
                f"{LONGEST_PX} px, got {share:g} and {longest}; change one of them"
            )
        if self.sweep.choose and not self.train.sweep:
            raise ValueError(
                "sweep.choose=true needs train.sweep=true, since it chooses by that sweep, got "
                "train.sweep=false; set it to true, or sweep.choose=false"
            )
        return self


def with_values(config: TrainConfig, values: dict[str, Any]) -> TrainConfig:
    """A copy of `config` with dotted keys replaced, checked whole; InputError lists all faults."""
    kept = flatten(config.model_dump())
    if "targets.shrink_ratio" in values:
        del kept["postprocess.shrink_ratio"]  # follows that one unless it is given too
    try:
        return TrainConfig.model_validate(nest(kept | values))
    except ValidationError as error:
        raise InputError("\n".join(describe_faults(error, TrainConfig))) from None


def network_name(config: TrainConfig) -> str:
    """What a training's network is called: its backbone, or the whole detector it starts from."""
    return config.model.backbone if config.train.init == "none" else config.train.init


def as_kept(settings: Any) -> Any:
    """The settings that a training kept, with what younger ones were where not their default.

    A shrink ratio of growth that nothing used is the training's, since exact growth may be asked
    for later.
    """
    if not isinstance(settings, dict):
        return settings
    parts = [settings.get(name, {}) for name in ("model", "postprocess", "sweep", "targets")]
    if not all(isinstance(part, dict) for part in parts):
        return settings
    model, grown, swept, targets = parts
    kept = {"model": {"norm_maps": False} | model}
    used = "exact" in str([grown.get("unclip"), swept.get("unclip")])  # one or a list
    if "shrink_ratio" in targets and not used:
        kept["postprocess"] = grown | {"shrink_ratio": targets["shrink_ratio"]}
    return settings | kept


# Settings that change where or how fast a job runs or what it tells, not what it computes.
PLACEMENT = (
    *("data.root", "data.workers", "data.cache", "data.cache_gb"),
    *("train.device", "train.threads", "train.processes", "train.channels_last"),
    *("train.compile", "train.grad_checkpointing", "train.sweep", "model.weights"),
)
_AFTERWARDS = (
    *("postprocess.", "sweep.", "train.sweep"),
    *("preprocess.test_scale", "preprocess.tile_px", "preprocess.tile_overlap_px"),
)


def is_afterwards(key: str) -> bool:
    """Whether a setting is of what is done with trained weights, and decides nothing of them."""
    return key.startswith(_AFTERWARDS)
