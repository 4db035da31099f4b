"""What a machine says of itself: versions, GPUs, room on its disks, what it reaches, its clock."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from detector.core.errors import JobError
from detector.core.folders import cache_folder
from detector.training.storage.environment import UNKNOWN, package_version, python_digest
from orchestrator.machines.exchange import Exchange

PACKAGES = ("ray", "torch", "torchvision", "timm", "numpy", "opencv-python-headless")
CODE = ("detector", "orchestrator")
SHARED_MEMORY = Path("/dev/shm")
FILES_S = 10.0  # of listing the data, which may lie on a slow network folder


@dataclass(frozen=True)
class Disk:
    """Where something is written, and the bytes that are free there, of how many."""

    use: str
    path: str
    free: int
    total: int


@dataclass(frozen=True)
class Files:
    """How many files there are and the digest of their names and sizes; not all where cut short."""

    count: int
    digest: str
    whole: bool


@dataclass(frozen=True)
class Machine:
    """A machine of the cluster as it is now.

    versions: of Python and PACKAGES, and the digest of this program's own files as `code`.
    gpus: that torch sees; gpu_fault: why one of them cannot be used.
    shared_memory: free bytes, None where the system has none of Linux's kind.
    exchange, data: why the run's folder or bucket, or the data, cannot be used from there.
    files: those of the data, where the machine reads them in a folder.
    began, ended: by its own clock, seconds since 1970.
    """

    versions: dict[str, str]
    gpus: int
    gpu_fault: str | None
    disks: tuple[Disk, ...]
    shared_memory: int | None
    exchange: str | None
    data: str | None
    files: Files | None
    began: float
    ended: float


def look(name: str, exchange: Exchange, data: Path | None) -> Machine:
    """Look at this machine, which answers as `name`; `data` is a folder of files to compare."""
    began = time.time()
    gpus, gpu_fault = _gpus()
    files, data_fault = (None, None) if data is None else _files_of(data)
    return Machine(
        versions=own_versions(),
        gpus=gpus,
        gpu_fault=gpu_fault,
        disks=tuple(_disks()),
        shared_memory=_free(SHARED_MEMORY),
        exchange=_fault_of(lambda: exchange.answer(name)),
        data=data_fault,
        files=files,
        began=began,
        ended=time.time(),
    )


def own_versions() -> dict[str, str]:
    """Versions of Python and PACKAGES, and the digest of this program's files, by name."""
    versions = {name: package_version(name) for name in PACKAGES}
    # OpenCV has several packages of one name.
    found = {name: version for name, version in versions.items() if version != UNKNOWN}
    return {"python": platform.python_version(), **found, "code": code_digest()}


def code_digest() -> str:
    """The digest of the Python files of this program, wherever they are installed."""
    return python_digest(Path(__file__).parents[2], CODE)[:12]


def files_in(folder: Path, *, seconds: float = FILES_S) -> Files:
    """The files below a folder by name and size; after so many seconds those found by then."""
    end, digest, count = time.monotonic() + seconds, hashlib.blake2b(digest_size=8), 0
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
            count += 1
        if time.monotonic() > end:
            return Files(count, digest.hexdigest(), whole=False)
    return Files(count, digest.hexdigest(), whole=True)


def _files_of(folder: Path) -> tuple[Files | None, str | None]:
    try:
        if not folder.is_dir():
            return None, "there is no such folder"
        return files_in(folder), None
    except OSError as error:
        return None, error.strerror or str(error)


def _gpus() -> tuple[int, str | None]:
    """How many torch sees, and why one cannot be used, tried by a sum on each."""
    import torch  # seconds

    count = torch.cuda.device_count()
    if count == 0 and torch.version.cuda is None:
        return 0, "torch is built for CPUs"
    try:
        for index in range(count):
            torch.ones(8, device=f"cuda:{index}").sum().item()
    except RuntimeError as error:
        return count, str(error).strip().splitlines()[0]
    return count, None


def _disks() -> Iterator[Disk]:
    """Where Ray, trials and caches write."""
    places = [
        ("Ray", Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())),
        ("trials and the cache", cache_folder()),
    ]
    for use, path in places:
        there = next(p for p in (path, *path.absolute().parents) if p.exists())
        usage = shutil.disk_usage(there)
        yield Disk(use, str(there), usage.free, usage.total)


def _free(folder: Path) -> int | None:
    return shutil.disk_usage(folder).free if folder.is_dir() else None


def _fault_of(call: Callable[[], None]) -> str | None:
    try:
        call()
    except (OSError, JobError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None
