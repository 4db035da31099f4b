"""What is done to a page before anything is measured on it: background, contrast, flattening."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from detector.core.errors import InputError
from detector.data.page.background import BackgroundRemover
from detector.data.page.colour import equalize, equalize_locally
from detector.data.page.flatten import Flattening, find_flattening

Background = Literal["none", "paper", "rembg"]
Contrast = Literal["none", "clahe", "equalize"]
Flatten = Literal["none", "perspective", "spline"]


@dataclass(frozen=True)
class Preparation:
    """Changes a page as a whole, in this order; the default changes nothing.

    Attributes:
        background: what is not the receipt gets the fill colour (`detector.data.page.background`).
        background_model: rembg's model by name, or the path of an ONNX file.
        contrast: equalisation of luma, in 8 x 8 parts (clahe) or over the page (equalize).
        flatten: a photographed receipt is laid flat (`detector.data.page.flatten`).
        masks: folder for the masks of receipts; where, not what, so two preparations that
            differ in it are equal.

    Raises:
        InputError: for a value that is none of these.
    """

    background: Background = "none"
    background_model: str = "u2net"
    contrast: Contrast = "none"
    flatten: Flatten = "none"
    masks: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for key, kind in (("background", Background), ("contrast", Contrast), ("flatten", Flatten)):
            value = getattr(self, key)
            if value not in get_args(kind):
                names = " | ".join(get_args(kind))
                raise InputError(f"preprocess.{key}: must be {names}, got {value!r}")

    def __call__(
        self, image: NDArray[np.uint8], fill: tuple[int, int, int]
    ) -> tuple[NDArray[np.uint8], Flattening | None]:
        """The page as the network shall see it, (H', W', 3) uint8 RGB.

        And how it was flattened; None when it was not, and `image` (H, W, 3) keeps its size.
        `fill` is the RGB colour of what is outside the receipt. Raises InputError when the
        background's model cannot be used.
        """
        if self._remover is not None:
            image = self._remover(image, fill)
        if self.contrast == "clahe":
            image = equalize_locally(image)
        elif self.contrast == "equalize":
            image = equalize(image)
        if self.flatten == "none":
            return image, None
        flattening = find_flattening(image, self.flatten)
        return image if flattening is None else flattening(image, fill), flattening

    @cached_property
    def _remover(self) -> BackgroundRemover | None:
        if self.background == "none":
            return None
        return BackgroundRemover(self.background, self.background_model, self.masks)

    @property
    def identity(self) -> str:
        """Names what is done, for a cache of its results; empty when nothing is.

        The model goes by its content. InputError as in a call.
        """
        if self == Preparation(background_model=self.background_model):
            return ""
        remover = self._remover and self._remover.identity
        return f"{remover} {self.contrast} {self.flatten}"

    def to_dict(self) -> dict[str, str]:
        """Plain values, for JSON or YAML."""
        return {
            "background": self.background,
            "background_model": self.background_model,
            "contrast": self.contrast,
            "flatten": self.flatten,
        }

    @classmethod
    def from_dict(cls, values: object) -> Preparation:
        """What `to_dict` gave; InputError for anything else."""
        if not isinstance(values, dict) or not values.keys() <= cls().to_dict().keys():
            names = ", ".join(cls().to_dict())
            raise InputError(f"preprocess.preparation: takes the keys {names}, got {values!r}")
        return cls(**values)


UNCHANGED = Preparation()
