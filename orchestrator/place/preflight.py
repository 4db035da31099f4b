"""What must hold before Ray starts on this machine, or is joined: a check each, all told at once.

A check is a function of the environment that returns a fault in one line, or None. A new one is
written in a file of its own and named in CHECKS, which is all that it takes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name

from detector.config.cli import log
from detector.core.errors import InputError
from orchestrator.place.joining import cluster_address

CHECKS = (  # FILE.FUNCTION of this room
    "preflight.home_fault",
    "preflight.temporary_fault",
    "joining.cluster_fault",
)
Check = Callable[[Mapping[str, str]], str | None]
LONGEST_FOLDER = 36  # bytes
SHORT_FOLDERS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))


def require_ready(environment: Mapping[str, str] = os.environ) -> None:
    """InputError with every fault that the checks find, a line each."""
    checks: list[Check] = [resolve_name(f"orchestrator.place.{name}") for name in CHECKS]
    if faults := [fault for check in checks if (fault := check(environment))]:
        raise InputError("\n".join(faults))


def home_fault(environment: Mapping[str, str]) -> str | None:
    """Ray writes the token of what it starts here to ~/.ray, and weights are kept in ~/.cache."""
    home = environment.get("HOME")
    if home is None or cluster_address(environment):
        return None
    reason = _write_fault(Path(home))
    return reason and (
        f"HOME: {home} cannot be written, as Ray and caches of weights need it ({reason}); set "
        "HOME to a folder of yours, such as HOME=/tmp/home"
    )


def temporary_fault(environment: Mapping[str, str]) -> str | None:
    """Ray's sockets and logs lie in the temporary folder; see `short_folder` for a long one."""
    name, folder = _temporary(environment)
    if cluster_address(environment) or len(os.fsencode(folder)) > LONGEST_FOLDER:
        return None
    reason = _write_fault(Path(folder))
    return reason and (
        f"{name}: {folder} cannot be written, as Ray needs it ({reason}); set {name} to a folder "
        "that can be, of which the path is short"
    )


def short_folder(
    others: Sequence[Path] = SHORT_FOLDERS, environment: Mapping[str, str] = os.environ
) -> Path | None:
    """A folder for Ray in place of one that is too long for its sockets; None where it is not.

    The path of a socket has at most 107 bytes (`man 7 unix`), of which Ray's own names take about
    70. Batch systems give jobs long temporary folders. InputError when no short one is writable.
    """
    name, long = _temporary(environment)
    if len(os.fsencode(long)) <= LONGEST_FOLDER:
        return None
    for folder in others:
        if folder.is_dir() and _write_fault(folder) is None:
            log(f"{name} is too long for Ray's sockets: Ray works in {folder / 'ray'} instead")
            return folder / "ray"
    raise InputError(
        f"{name}: must have at most {LONGEST_FOLDER} bytes, for the sockets that Ray makes there, "
        f"got {long}; set RAY_TMPDIR to a short folder that is writable"
    )


def _temporary(environment: Mapping[str, str]) -> tuple[str, str]:
    """The variable that says where Ray works, and the folder."""
    name = next((n for n in ("RAY_TMPDIR", "TMPDIR") if environment.get(n)), None)
    return ("TMPDIR", "/tmp") if name is None else (name, environment[name])


def _write_fault(folder: Path) -> str | None:
    """Why nothing can be written to a folder; if it is not there, to that which it is made in."""
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=there) as file:  # a full disk shows when it is written to
            file.write(b"1")
    except OSError as error:
        return error.strerror
    return None
