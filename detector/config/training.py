"""Settings of the network and of how it learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from detector.config.sections import Section

Device = Literal["auto", "cpu", "cuda"]
Amp = Literal["auto", "off", "bf16", "fp16"]


class ModelConfig(Section):
    backbone: str = Field(
        "resnet18",
        min_length=1,
        description="a timm model with four feature levels, fsnet_s or fsnet_m",
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
    norm_maps: bool = Field(
        True, description="layer norm on the maps of a backbone without batch norm, as ConvNeXt"
    )
    drop_path: float = Field(
        0.0, ge=0, lt=1, description="rate at which the backbone's last block is skipped"
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
    name: Literal["adamw", "sgd"] = Field("adamw", description="how weights follow gradients")
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
    init: str = Field(
        "none",
        min_length=1,
        description="whole detector to start from, in place of model.weights: none | "
        "ppocrv6_small | PATH of a best/ folder, a training or an ONNX file",
    )
    epochs: int = Field(30, ge=1, le=100_000, description="passes over the training pages")
    batch_size: int = Field(4, ge=1, le=1024, description="crops per step")
    seed: int = Field(
        0, ge=0, lt=2**31, description="fixes data order, augmentation and new weights"
    )
    device: Device = Field("auto", description="auto takes a GPU if there is one")
    amp: Amp = Field(
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
    compile: bool = Field(
        False, description="compile the network's training step by torch.compile, for one process"
    )
    grad_checkpointing: bool = Field(
        False,
        description="gradient checkpointing: compute the backbone's stages again in the backward "
        "pass, to save memory",
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
        if self.compile and (self.processes > 1 or self.grad_checkpointing):
            raise ValueError(
                "compile=true needs processes=1 and grad_checkpointing=false, got processes="
                f"{self.processes} and grad_checkpointing={str(self.grad_checkpointing).lower()}; "
                "set compile=false, or change those"
            )
        return self


# Peak rates where none is given: for sgd that of DBNet (arXiv:1911.08947, section 4.2).
DEFAULT_LR = {"adamw": 1e-3, "sgd": 7e-3}


def peak_lr(name: str, lr: float | None) -> float:
    """The peak rate of neck and head: the one given, or the optimizer's own."""
    return DEFAULT_LR[name] if lr is None else lr
