"""The code and the machine that a training ran with."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import torch

from detector.config.sections import Section

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "shapely", "pyclipper")
UNKNOWN = "unknown"  # version
GIT_S = 5.0  # that git may take to answer

_CODE = Path(__file__).parents[2]


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


def python_digest(root: Path, folders: Sequence[str] = (".",)) -> str:
    """The digest of all Python files in these folders of `root`, by names and contents."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def read_code() -> Code:
    """The code that runs; without git, or outside a checkout, its digest alone."""
    digest = python_digest(_CODE)
    # An installed copy below someone else's checkout is not part of it.
    tracked = _git("ls-files", "--error-unmatch", "__init__.py") is not None
    commit = _git("rev-parse", "HEAD") if tracked else None
    status = _git("status", "--porcelain", "--", ".") if commit else None
    changed = None if status is None else bool(status)
    return Code(digest=digest, commit=commit, changed=changed)


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
        versions=versions | {name: package_version(name) for name in PACKAGES},
        platform=f"{platform.system()} {platform.machine()}",
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        device="cpu" if device.type == "cpu" else torch.cuda.get_device_name(device),
    )


def package_version(package: str) -> str:
    """The version of an installed package; UNKNOWN where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return UNKNOWN
