"""Settings of what the network is given: the pages, their preprocessing, crops and targets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from detector.config.sections import Section
from detector.core.folders import cache_folder

LONGEST_PX = 8192  # side of a page as the network gets it

Probability = Annotated[float, Field(ge=0, le=1)]


def _null(value: Any) -> Any:
    """None for "none", which could be meant as no folder's name."""
    return None if value == "none" else value


class LabelsConfig(Section):
    """Where labelled pages lie, and how labels are read that do not say it themselves."""

    root: Path | None = Field(None, description="dataset folder, with labels in any known format")
    format: str = Field(
        "auto", min_length=1, description="format of the labels; auto finds out which"
    )
    dont_care: tuple[str, ...] = Field(
        (), description="texts of words that are don't-care, besides the format's own such as ###"
    )
    label_frame: Literal["auto", "displayed", "stored"] = Field(
        "auto",
        description="image that the points belong to, as displayed or as stored before its EXIF "
        "turn; auto goes by the size that the labels give",
    )
    exclude: Path | None = Field(
        None, description="reviewed list of words to leave out (detector.inspect writes one)"
    )

    def rules(self) -> dict[str, Any]:
        """What `detector.data.labels.pages.LabelRules` takes."""
        return {"format": self.format, "dont_care": self.dont_care, "frame": self.label_frame}


class DataConfig(LabelsConfig):
    train_split: str = Field("train", description="split the weights are trained on")
    val_split: str = Field(
        "val",
        description="split the H-mean is measured on; train@1/5 is the first fifth of another, "
        "which is not trained on then",
    )
    train_pages: int | None = Field(
        None, ge=1, description="use this many pages, evenly spaced over the split; null = all"
    )
    val_pages: int | None = Field(None, ge=1, description="the same for the validation split")
    longest_side_px: int | None = Field(
        None,
        ge=64,
        le=LONGEST_PX,
        description="pages are resized to this longest side; null = to the shortest of "
        "preprocess.shortest_side_px, the longest at most 8192",
    )
    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=64)] = Field(
        "auto",
        description="loader processes; 0 loads in the trainer; auto is 0 on a CPU, which the "
        "network keeps busy, and all of a trial's cores but one, at most 16, with a GPU",
    )
    cache: Annotated[Literal["auto"] | Path | None, BeforeValidator(_null)] = Field(
        "auto",
        description="local folder for prepared pages, shared by all trainings; auto = "
        "~/.cache/receipt-orchestrator/pages, with half of what its disk has free at most; "
        "null = none",
    )
    cache_gb: float = Field(
        20.0, gt=0, description="size of data.cache in GB; pages unused for longest go first"
    )

    def cache_folder(self) -> Path | None:
        """Where prepared pages are kept on this machine; None for nowhere."""
        return cache_folder() / "pages" if self.cache == "auto" else self.cache


class PreprocessConfig(Section):
    """What is done to a page before the network, saved with the weights."""

    shortest_side_px: int | None = Field(
        None,
        ge=32,
        le=LONGEST_PX,
        description="pages are resized to this shortest side instead, while the longest stays "
        "within data.longest_side_px; null = by the longest side alone, 736 where that is null too",
    )
    test_scale: float = Field(
        1.0,
        ge=0.25,
        le=4,
        description="sides of pages at validation and use, as a share of those above, at which "
        "crops are trained",
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
        2048,
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
    shadow: Probability = Field(0.0, description="probability of a soft-edged shadow on a part")
    blur: Probability = Field(
        0.0, description="probability of a lens out of focus or a shaken hand"
    )
    noise: Probability = Field(0.0, description="probability of a sensor's noise")
    gamma: float = Field(0.0, ge=0, lt=1, description="exponent of tones drawn from 1 +- this")
    jpeg: Probability = Field(0.0, description="probability of JPEG at a quality of 30 to 90")
    paste: Probability = Field(
        0.0, description="probability that words of a crop are pasted where it shows plain paper"
    )

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
