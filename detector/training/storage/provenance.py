"""What a training was made from, kept as `record.json` beside what came of it.

The record is enough to repeat a training (`detector.training.reproduction`): its whole config
with the seed, fingerprints of the pages and of the backbone's first weights, the code, and all that
decides how numbers are rounded.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import cv2
import torch
from pydantic import ValidationError
from torch import Tensor

from detector.config.sections import Section, describe_faults
from detector.config.settings import TrainConfig, as_kept
from detector.core.errors import InputError
from detector.core.files import file_digest, write_text
from detector.data.labels.annotations import Page, Split
from detector.model.backbone import Backbone

RECORD = "record.json"
VERSION = 1  # of the record; raise it when fields or fingerprints change their meaning
PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "shapely", "pyclipper")
GIT_S = 5.0  # that git may take to answer

_CODE = Path(__file__).parent
_SCRATCH = "starting from scratch"  # in the line of `load_backbone_weights`


class Pages(Section):
    """The pages of a split that a training used.

    `images` is the digest of their names and files, `annotations` of their words as read:
    outlines, texts and ignore flags, after exclusions.
    """

    split: str
    pages: int
    words: int
    images: str
    annotations: str


class Weights(Section):
    """The backbone before the first step: where it is from, as a line, and its digest."""

    source: str
    digest: str

    @property
    def scratch(self) -> bool:
        """Whether these are new random weights, which the seed and torch's version decide."""
        return _SCRATCH in self.source


class Code(Section):
    """The detector's code: a digest of its files, and its git commit when it lies in a checkout.

    `changed` says that the files were not those of the commit.
    """

    digest: str
    commit: str | None
    changed: bool | None

    def __str__(self) -> str:
        files = f"files of digest {self.digest[:12]}"
        return files if self.commit is None else f"{files} (commit {self.commit[:12]})"


class Environment(Section):
    """What decides the rounding of sums; `threads` are torch's CPU threads of a process."""

    versions: dict[str, str]
    platform: str
    cpu_capability: str
    threads: int
    device: str


class Provenance(Section):
    """All that a training was made from; `train` and `val` are what it learnt and was scored on."""

    version: Literal[1]
    config: TrainConfig
    train: Pages
    val: Pages
    weights: Weights
    code: Code
    environment: Environment


def keep_record(
    folder: Path,
    config: TrainConfig,
    splits: tuple[Split, Split],
    backbone: Backbone,
    origin: str | None,
    device: torch.device,
    *,
    expected: Provenance | None,
    log: Callable[[str], None],
) -> None:
    """Write `folder/record.json` when a training starts.

    `splits` are those for training and validation, `origin` is the line that says where the
    weights of `backbone` are from, or None when a training is resumed: its record then stays,
    and what is no longer as it was then is logged. `expected` is the record of a training to
    repeat: raises InputError when data or weights are others, and logs what else differs.
    """
    own = None
    if origin is None:
        try:
            own = read_record(folder)
        except InputError as error:
            if expected is not None:
                raise
            log(str(error))
            return
        weights = own.weights
    else:
        weights = Weights(source=origin, digest=digest_of(backbone.body.state_dict()))
    now = observe(config, splits, weights, device)
    if expected is not None:
        require_same(expected, now)
    before = expected or own
    if before is not None:
        for line in [*_other_data(before, now), *other_rounding(before, now)]:
            log(line)
    if own is None:
        write_record(folder, now)


def observe(
    config: TrainConfig, splits: tuple[Split, Split], weights: Weights, device: torch.device
) -> Provenance:
    """What a training would be made from here and now."""
    return Provenance(
        version=VERSION,
        config=config,
        train=fingerprint(splits[0]),
        val=fingerprint(splits[1]),
        weights=weights,
        code=read_code(),
        environment=read_environment(device),
    )


def write_record(folder: Path, record: Provenance) -> None:
    """Write the record of the training in `folder`."""
    write_text(folder / RECORD, json.dumps(record.model_dump(mode="json"), indent=1) + "\n")


def read_record(folder: Path) -> Provenance:
    """The record of the training in `folder`; InputError when there is none that can be used."""
    path = folder / RECORD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path}: no such file; a training writes it when it starts, but older ones have none: "
            "those are trained again with config=FOLDER/checkpoint/best/config.yaml"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); restore the file") from None
    found = content.get("version") if isinstance(content, dict) else None
    if found != VERSION:
        raise InputError(
            f"{path}: must be a record of version {VERSION}, got {found!r}; use the version of "
            "this program that wrote it"
        )
    try:
        if isinstance(content.get("config"), dict):
            content["config"] = as_kept(content["config"])
        return Provenance.model_validate(content)
    except ValidationError as error:
        lines = describe_faults(error, Provenance)
        raise InputError("\n".join(f"{path}: {line}" for line in lines)) from None


def fingerprint(split: Split) -> Pages:
    """Counts and digests of a split's pages; an image file is read once a process."""
    images, annotations = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
    for page in split.pages:
        images.update(f"{page.name}\0{_file_digest(page.path)}\0".encode())
        annotations.update(_words(page))
    return Pages(
        split=split.name,
        pages=len(split.pages),
        words=sum(len(page.words) for page in split.pages),
        images=images.hexdigest(),
        annotations=annotations.hexdigest(),
    )


def _file_digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:
        return "unreadable"  # the training skips such a page, and goes on


def _words(page: Page) -> bytes:
    words = [[word.points.tolist(), word.text, word.ignore] for word in page.words]
    return json.dumps([page.name, words]).encode()


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A digest of tensors with their names, types and shapes, wherever they are stored."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_code() -> Code:
    """The code that runs; without git, or outside a checkout, its digest alone."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(_CODE.rglob("*.py")):
        digest.update(f"{path.relative_to(_CODE).as_posix()}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    # An installed copy below someone else's checkout is not part of it.
    tracked = _git("ls-files", "--error-unmatch", "__init__.py") is not None
    commit = _git("rev-parse", "HEAD") if tracked else None
    status = _git("status", "--porcelain", "--", ".") if commit else None
    changed = None if status is None else bool(status)
    return Code(digest=digest.hexdigest(), commit=commit, changed=changed)


def _git(*arguments: str) -> str | None:
    """What git says of the folder of this package; None when it cannot."""
    try:
        done = subprocess.run(
            ["git", "-C", str(_CODE), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_S,
            check=False,
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},  # so that `status` writes nothing
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def read_environment(device: torch.device) -> Environment:
    """Versions and machine as they are in this process now."""
    versions = {"python": platform.python_version(), "opencv": cv2.__version__}
    return Environment(
        versions=versions | {name: _version(name) for name in PACKAGES},
        platform=f"{platform.system()} {platform.machine()}",
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        device="cpu" if device.type == "cpu" else torch.cuda.get_device_name(device),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def require_same(recorded: Provenance, now: Provenance) -> None:
    """Raise InputError, with what differs, unless data and weights are those recorded."""
    faults = _other_data(recorded, now)
    old, new = recorded.weights, now.weights
    if old.digest != new.digest and not (old.scratch and new.scratch):
        faults.append(
            f"model.weights: {old.source!r} (digest {old.digest[:12]}) in the record, "
            f"{new.source!r} (digest {new.digest[:12]}) now"
        )
    if faults:
        raise InputError(
            "from: the training cannot be repeated, since it started from something else; "
            "restore that, or say where it is with data.root, data.exclude or model.weights\n"
            + "\n".join(faults)
        )


def _other_data(recorded: Provenance, now: Provenance) -> list[str]:
    lines = []
    for old, new in ((recorded.train, now.train), (recorded.val, now.val)):
        counts = [
            f"{getattr(old, name)} {name} in the record, {getattr(new, name)} now"
            for name in ("pages", "words")
            if getattr(old, name) != getattr(new, name)
        ]
        if counts:
            lines.append(f"split {new.split!r}: {', '.join(counts)}")
            continue
        if old.images != new.images:
            lines.append(f"split {new.split!r}: image files were renamed or have other content")
        if old.annotations != new.annotations:
            lines.append(f"split {new.split!r}: words have other outlines, texts or ignore flags")
    return lines


def other_rounding(recorded: Provenance, now: Provenance) -> list[str]:
    """A line for each difference that may change the last bits of a result, and so its scores."""
    old, new = _decides_bits(recorded), _decides_bits(now)
    if recorded.code.digest != now.code.digest:  # commits differ with other files too
        old["code"], new["code"] = str(recorded.code), str(now.code)
    return [
        f"{name}: {old.get(name, 'unknown')} in the record, {new.get(name, 'unknown')} now; "
        f"the same bits are promised only for the same {name}"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]


def _decides_bits(record: Provenance) -> dict[str, str]:
    environment = record.environment
    found = {f"version of {name}": value for name, value in environment.versions.items()}
    found["platform"] = environment.platform
    found["CPU capability"] = environment.cpu_capability
    found["number of threads"] = str(environment.threads)
    found["device"] = environment.device
    settings = record.config.train
    found["train.processes"] = str(settings.processes)
    layout = "null" if settings.channels_last is None else str(settings.channels_last).lower()
    found["train.channels_last"] = layout
    found["data.cache"] = "none" if record.config.data.cache is None else "a folder"
    if record.weights.scratch:
        found["random first weights"] = record.weights.digest[:12]
    return found
