"""Every setting of the detector, with its default, range and unit, in one place.

Sections are frozen pydantic models, so a config is checked whole when it is built and
all faults are reported together. The dotted paths (`loss.negative_ratio`) are the keys of
the command line and of the search spaces; `--help` is made from the descriptions here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from detector.errors import InputError
from detector.settings import Section, describe_faults, flatten, nest

Probability = Annotated[float, Field(ge=0, le=1)]


class DataConfig(Section):
    root: Path | None = Field(None, description="dataset folder (images/ and jsons/ inside)")
    train_split: str = Field("train", description="split the weights are trained on")
    val_split: str = Field("val", description="split the H-mean is measured on")
    train_pages: int | None = Field(
        None, ge=1, description="use this many pages, evenly spaced over the split; null = all"
    )
    val_pages: int | None = Field(None, ge=1, description="the same for the validation split")
    longest_side_px: int = Field(
        1024, ge=64, le=8192, description="pages are resized to this longest side, always"
    )
    exclude: Path | None = Field(
        None, description="reviewed list of words to leave out (detector.inspect writes one)"
    )
    workers: int = Field(0, ge=0, le=64, description="loader processes; 0 loads in the trainer")
    cache: Path | None = Field(
        None, description="local folder for decoded pages, shared by all trainings; null = none"
    )
    cache_gb: float = Field(
        20.0, gt=0, description="size of data.cache in GB; pages unused for longest go first"
    )


class PreprocessConfig(Section):
    """What is done to a page before the network, saved with the weights."""

    shortest_side_px: int | None = Field(
        None,
        ge=32,
        le=8192,
        description="pages are resized to this shortest side instead, while the longest stays "
        "within data.longest_side_px; null = by the longest side alone",
    )
    background: Literal["none", "paper", "rembg"] = Field(
        "none",
        description="what is not the receipt is blanked: found as the bright region (paper) or "
        "by a network (rembg, pip install -e '.[rembg]')",
    )
    background_model: str = Field(
        "u2net", min_length=1, description="rembg model by name, or PATH of an ONNX file"
    )
    contrast: Literal["none", "clahe", "equalize"] = Field(
        "none", description="histogram equalisation of every page, by parts (clahe) or whole"
    )
    flatten: Literal["none", "perspective", "spline"] = Field(
        "none", description="photographed receipts are laid flat, by their corners or outline"
    )
    crop: bool = Field(
        False,
        description="crop to the text: as annotated in training, as found by a first pass at "
        "test time",
    )
    crop_margin: float = Field(
        0.05, ge=0, le=1, description="kept around the text, a share of its longer side"
    )
    tile_px: int = Field(
        0,
        ge=0,
        le=8192,
        multiple_of=32,
        description="larger pages are worked through in tiles of this side; 0 = whole",
    )
    tile_overlap_px: int = Field(
        128, ge=0, le=4096, multiple_of=32, description="what neighbouring tiles share at least"
    )

    @model_validator(mode="after")
    def _check(self) -> PreprocessConfig:
        if 0 < self.tile_px < 2 * self.tile_overlap_px:
            raise ValueError(
                "tile_overlap_px must not exceed half of tile_px, "
                f"got {self.tile_overlap_px} and {self.tile_px}"
            )
        return self


class AugmentConfig(Section):
    crop_px: int = Field(
        640,
        ge=0,
        le=4096,
        description="side of the square training crop, a multiple of 32; 0 = whole page",
    )
    scale_min: float = Field(0.6, gt=0, le=10, description="smallest random zoom of the page")
    scale_max: float = Field(1.5, gt=0, le=10, description="largest random zoom of the page")
    rotate_deg: float = Field(5.0, ge=0, le=180, description="rotation drawn from +- this, degrees")
    perspective: float = Field(
        0.02, ge=0, le=0.3, description="corner displacement, as a share of the shorter page side"
    )
    crumple: float = Field(
        0.0,
        ge=0,
        le=0.1,
        description="page bent by a thin-plate spline whose 4 x 4 control points move by this "
        "share of the shorter page side at most",
    )
    flip: Probability = Field(0.0, description="probability of a horizontal flip")
    brightness: float = Field(0.2, ge=0, lt=1, description="brightness factor drawn from 1 +- this")
    contrast: float = Field(0.2, ge=0, lt=1, description="contrast factor drawn from 1 +- this")
    saturation: float = Field(0.2, ge=0, le=1, description="saturation factor drawn from 1 +- this")
    clahe: Probability = Field(0.0, description="probability of local histogram equalisation")
    equalize: Probability = Field(0.0, description="probability of histogram equalisation")

    @model_validator(mode="after")
    def _check(self) -> AugmentConfig:
        if self.crop_px % 32:
            raise ValueError(f"crop_px must be a multiple of 32, got {self.crop_px}")
        if self.scale_min > self.scale_max:
            raise ValueError(
                f"scale_min must not exceed scale_max, got {self.scale_min} > {self.scale_max}"
            )
        return self


class TargetConfig(Section):
    shrink_ratio: float = Field(
        0.4, gt=0, lt=1, description="r in the shrink distance A(1-r^2)/L of a word polygon"
    )
    threshold_min: Probability = Field(0.3, description="threshold map far from a border")
    threshold_max: Probability = Field(0.7, description="threshold map on a border")
    min_side_px: float = Field(
        3.0, ge=0, description="words thinner than this at training scale are not trained on"
    )

    @model_validator(mode="after")
    def _check(self) -> TargetConfig:
        if self.threshold_min >= self.threshold_max:
            raise ValueError(
                "threshold_min must be below threshold_max, "
                f"got {self.threshold_min} >= {self.threshold_max}"
            )
        return self


class ModelConfig(Section):
    backbone: str = Field(
        "resnet18", min_length=1, description="any timm model with four feature levels"
    )
    weights: str = Field("auto", min_length=1, description="auto | none | PATH of backbone weights")
    neck: Literal["fpn", "unet"] = Field("fpn", description="how the four levels are merged")
    neck_channels: int = Field(
        256, ge=16, le=1024, multiple_of=16, description="channels after the neck's concatenation"
    )
    fusion: Literal["none", "scale_spatial", "scale_channel_spatial"] = Field(
        "scale_channel_spatial",
        description="Adaptive Scale Fusion; none gives DBNet, others DBNet++",
    )
    upsample: Literal["deconv", "smooth"] = Field(
        "deconv",
        description="how the head doubles the side: transposed convolution, or bilinear "
        "interpolation and a 3 x 3 convolution (smooth)",
    )
    step_k: float = Field(50.0, gt=0, le=500, description="steepness of the differentiable step")


class LossConfig(Section):
    negative_ratio: float = Field(
        3.0, gt=0, le=100, description="hard negatives per positive pixel in the probability loss"
    )
    min_negatives: int = Field(
        1000, ge=0, description="negative pixels kept on a page with little or no text"
    )
    probability_weight: float = Field(5.0, ge=0, le=1000, description="weight of the balanced BCE")
    threshold_weight: float = Field(
        10.0, ge=0, le=1000, description="weight of the threshold-map L1"
    )
    binary_weight: float = Field(
        1.0, ge=0, le=1000, description="weight of the binary-map dice loss"
    )

    @model_validator(mode="after")
    def _check(self) -> LossConfig:
        if self.probability_weight == 0 and self.binary_weight == 0:
            raise ValueError(
                "probability_weight and binary_weight are both 0: nothing would be learnt"
            )
        return self


class OptimizerConfig(Section):
    name: Literal["adamw", "sgd"] = Field("adamw", description="adamw | sgd")
    lr: float | None = Field(
        None, gt=0, le=1, description="peak rate of neck and head; null = adamw 0.001, sgd 0.007"
    )
    backbone_lr_ratio: float = Field(
        0.5, ge=0, le=10, description="learning rate of the backbone over lr"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="rate of each backbone stage over that of the next; 1 = same"
    )
    freeze_epochs: int = Field(
        0, ge=0, description="epochs in which only neck and head learn, for pretrained backbones"
    )
    weight_decay: float = Field(1e-4, ge=0, le=1, description="decay of the weight matrices")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    schedule: Literal["cosine", "poly", "constant"] = Field(
        "cosine", description="after the warm-up"
    )
    warmup_epochs: float = Field(
        0.5, ge=0, description="linear warm-up, in epochs (may be a fraction)"
    )
    clip_norm: float = Field(5.0, ge=0, description="largest gradient norm; 0 = no clipping")
    ema_decay: float = Field(
        0.998, ge=0, lt=1, description="average of the weights per step; 0 = off"
    )


class RunConfig(Section):
    epochs: int = Field(30, ge=1, le=100_000, description="passes over the training pages")
    batch_size: int = Field(4, ge=1, le=1024, description="crops per step")
    seed: int = Field(
        0, ge=0, lt=2**31, description="fixes data order, augmentation and new weights"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto takes a GPU if there is one"
    )
    amp: Literal["auto", "off", "bf16", "fp16"] = Field(
        "auto", description="mixed precision; auto is bf16 (or fp16) on a GPU, off on a CPU"
    )
    channels_last: bool | None = Field(
        None, description="memory layout of images and convolutions; null = as suits the device"
    )
    threads: int | None = Field(
        None, ge=1, description="torch CPU threads of each process; null lets torch choose"
    )
    accumulate: int = Field(
        1, ge=1, le=1024, description="parts a batch is worked through in, to save memory"
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="processes that share each batch: one GPU each, or CPU processes over gloo",
    )
    patience: int = Field(
        0, ge=0, description="validations without a better H-mean that end a training; 0 = none do"
    )
    eval_every: int = Field(
        1, ge=1, description="epochs between two validations (the last always is)"
    )
    sweep: bool = Field(
        True, description="after each validation, also score other post-processing settings"
    )

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        if self.processes > self.batch_size:
            raise ValueError(
                "processes must not exceed batch_size, since each takes at least one crop, "
                f"got {self.processes} and {self.batch_size}"
            )
        return self


class PostprocessConfig(Section):
    thresh: float = Field(0.3, gt=0, lt=1, description="probability above which a pixel is text")
    box_thresh: Probability = Field(0.5, description="smallest mean probability of a kept region")
    unclip: Literal["ratio", "exact"] = Field(
        "ratio",
        description="growth of a shrunk region: area * unclip_ratio / length (ratio) or what "
        "undoes the shrink of a rectangle by shrink_ratio (exact)",
    )
    unclip_ratio: float = Field(1.6, ge=0, le=10, description="growth with unclip=ratio")
    shrink_ratio: float = Field(
        0.4, gt=0, lt=1, description="targets.shrink_ratio of the training, for unclip=exact"
    )
    max_candidates: int = Field(
        1000, ge=1, le=100_000, description="regions kept, best score first"
    )
    min_side_px: float = Field(3.0, ge=0, description="shortest side after growth, in model pixels")
    shape: Literal["quad", "polygon"] = Field("quad", description="rotated rectangle or outline")
    score_mode: Literal["fast", "slow"] = Field(
        "fast",
        description="mean probability over the contour (fast) or the simplified polygon (slow)",
    )
    dilate: bool = Field(False, description="2 x 2 dilation of the binary map before contours")
    epsilon: float = Field(
        0.002, ge=0, le=0.2, description="outline simplification, a share of its length; 0 = none"
    )


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

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        trained, undone = self.targets.shrink_ratio, self.postprocess.shrink_ratio
        if self.postprocess.unclip == "exact" and undone != trained:
            raise ValueError(
                f"postprocess.shrink_ratio must equal targets.shrink_ratio with "
                f"postprocess.unclip=exact, got {undone} and {trained}; "
                f"set postprocess.shrink_ratio={trained}"
            )
        return self


def with_values(config: TrainConfig, values: dict[str, Any]) -> TrainConfig:
    """A copy of `config` with dotted keys replaced, checked whole; InputError lists all faults."""
    flat = flatten(config.model_dump()) | values
    try:
        return TrainConfig.model_validate(nest(flat))
    except ValidationError as error:
        raise InputError("\n".join(describe_faults(error, TrainConfig))) from None
