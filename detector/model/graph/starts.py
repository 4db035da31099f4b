"""The whole detectors that are known by name, each a file inside an installed package."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from detector.core.errors import InputError

NONE = "none"  # the network that model.* describes
Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Start:
    """A detector in an ONNX file, and what the file does not say of itself.

    `bgr` tells that its first layer wants blue first. `mean` and `std` are for values in [0, 1],
    in the order of RGB.
    """

    source: str
    licence: str
    bgr: bool
    mean: Channels
    std: Channels


@dataclass(frozen=True)
class Packaged:
    """A start by the package that holds it, which is installed by an extra of ours."""

    package: str
    file: str
    extra: str
    title: str
    authors: str
    licence: str
    bgr: bool
    mean: Channels
    std: Channels


_HALF = (0.5, 0.5, 0.5)
STARTS: Mapping[str, Packaged] = {
    "ppocrv6_small": Packaged(
        package="rapidocr",
        file="models/PP-OCRv6_det_small.onnx",
        extra="ppocr",
        title="PP-OCRv6 small",
        authors="PaddleOCR",
        licence="Apache-2.0",
        bgr=True,
        mean=_HALF,
        std=_HALF,
    )
}
# Of a file that is given by its path: what most published detectors were trained with.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def brings_network(value: Any) -> bool:
    """Whether a value of train.init is an ONNX file, whose network takes the place of model.*.

    A value that nobody has checked yet and is no text is none.
    """
    if not isinstance(value, str):
        return False
    return value in STARTS or Path(value).suffix.lower() == ".onnx"


def is_named(value: Any) -> bool:
    """Whether a value of train.init is not a path; it may be one that nobody has checked yet."""
    return isinstance(value, str) and (value == NONE or value in STARTS)


def named_start(name: str, key: str = "train.init") -> tuple[Path, Start]:
    """The file of a named start, whose package is not imported; InputError where it is missing.

    `key` is the setting that names it.
    """
    known = STARTS[name]
    spec = importlib.util.find_spec(known.package)
    path = None
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / known.file
    if path is None or not path.is_file():
        what = f"the package {known.package} is not installed"
        if path is not None:
            what = f"the package {known.package} has no {known.file}"
        raise InputError(f"{key}={name}: {what}; pip install -e '.[{known.extra}]'")
    version = metadata.version(known.package)
    source = f"{known.title} of {known.authors}, from the package {known.package} {version}"
    start = Start(source, known.licence, known.bgr, known.mean, known.std)
    return path, start


def start_of_file(path: Path) -> Start:
    """What is taken for granted of an ONNX file that is given by its path."""
    mean, std = _IMAGENET
    return Start(f"the file {path.name}", "", False, mean, std)
