"""A pack as a zip file, written whole and read with care: it may come from a stranger."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from detector.core.errors import InputError
from detector.core.files import replacing
from detector.core.folders import replacing_folder
from orchestrator.packs.contents import ABOUT, BEST, OF_A_TRIAL, SINGLE, TRIALS, VERSION, WEIGHTS
from orchestrator.run.run_folder import CONFIG

ABOUT_BYTES = 5_000_000
BLOCK = 1 << 20


def digests(files: Mapping[str, bytes | Path]) -> dict[str, str]:
    """The SHA-256 of each file, hexadecimal."""
    return {
        name: hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else _sum(content)
        for name, content in files.items()
    }


def write_pack(target: Path, about: Mapping[str, Any], files: Mapping[str, bytes | Path]) -> None:
    """Write the zip file; whoever reads it sees the old one or the new one."""
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "w") as pack:
        pack.writestr(ABOUT, json.dumps(about, indent=1), zipfile.ZIP_DEFLATED)
        for name, content in files.items():
            if isinstance(content, bytes):
                pack.writestr(name, content, zipfile.ZIP_DEFLATED)
            else:
                packed = zipfile.ZIP_STORED if name.endswith(WEIGHTS) else zipfile.ZIP_DEFLATED
                pack.write(content, name, packed)


def read_pack(source: Path, target: Path) -> dict[str, Any]:
    """Unpack into a new folder, complete or not at all; what `pack.json` says.

    InputError for a file that is no pack, is damaged or has files that packs do not have, for a
    folder that is there already, and for a disk that cannot hold it.
    """
    if target.exists():
        raise InputError(f"output: {target} exists already; give a new folder")
    try:
        with zipfile.ZipFile(source) as pack:
            about = _about(source, pack)
            _require_room(source, pack, target)
            with replacing_folder(target) as folder:
                for name, digest in about["files"].items():
                    _extract(source, pack, name, digest, folder / name)
                (folder / TRIALS).mkdir(exist_ok=True)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise InputError(f"pack: {source} is no whole zip file ({error}); get it again") from None
    except RuntimeError as error:  # of zipfile, for one with a password
        raise InputError(f"pack: {source} cannot be read ({error})") from None
    return about


def _about(source: Path, pack: zipfile.ZipFile) -> dict[str, Any]:
    """What `pack.json` says, its files checked by name."""
    try:
        entry = pack.getinfo(ABOUT)
        if entry.file_size > ABOUT_BYTES:
            raise ValueError(f"{entry.file_size} bytes")
        about = json.loads(pack.read(entry))
        files = about["files"]
        names = {*files} | {*files.values()}
        found = about["version"], isinstance(files, dict) and all(isinstance(n, str) for n in names)
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise InputError(
            f"pack: {source} has no {ABOUT} as orchestrator.pack writes it ({error}); give a pack"
        ) from None
    if found != (VERSION, True):
        raise InputError(
            f"pack: {source}: must be a pack of version {VERSION}, got {about['version']!r}; use "
            "the version of this program that wrote it"
        )
    if strange := [name for name in (*files, *pack.namelist()) if not _is_known(name)]:
        raise InputError(
            f"pack: {source} holds {strange[0]!r}, which no pack does; do not trust it"
        )
    if missing := [name for name in files if name not in pack.namelist()]:
        raise InputError(f"pack: {source} lacks {missing[0]}; get it again")
    return {**about, "files": files}


def _is_known(name: str) -> bool:
    """Whether a pack may hold a file of this name, which lies in its folder then."""
    parts = PurePosixPath(name).parts
    if name != "/".join(parts) or "\\" in name or any(part.startswith(".") for part in parts):
        return False
    if len(parts) == 1:
        return name in (ABOUT, *SINGLE)
    if len(parts) == 2:
        return parts[0] == BEST and (parts[1] == CONFIG or parts[1].endswith(WEIGHTS))
    return len(parts) == 3 and parts[0] == TRIALS and parts[2] in OF_A_TRIAL


def _require_room(source: Path, pack: zipfile.ZipFile, target: Path) -> None:
    needed = sum(entry.file_size for entry in pack.infolist())
    there = next(path for path in target.absolute().parents if path.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise InputError(
            f"output: {source} holds {needed / 2**20:.0f} MiB, and {there} has {free / 2**20:.0f} "
            "MiB free; give another folder or make room"
        )


def _extract(source: Path, pack: zipfile.ZipFile, name: str, digest: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.sha256()
    with pack.open(name) as packed, target.open("xb") as file:
        for block in _blocks(packed):
            found.update(block)
            file.write(block)
    if found.hexdigest() != digest:
        raise InputError(f"pack: {source}: {name} is not what was packed; get it again")


def _blocks(file: Any) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
