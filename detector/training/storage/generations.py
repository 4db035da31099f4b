"""The last two states of a training: the newer one that is whole is what it goes on from.

A write is atomic, but a disk may still give back other bytes than it was given. So the state before
the last is kept too, as a hard link: it costs its space and no time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from detector.core.files import clear_up, replacing
from detector.core.weight_files import fault_of

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"
BROKEN = "broken.safetensors"  # the last one that was set aside


def has_state(folder: Path) -> bool:
    """Whether a training has kept a state in this checkpoint folder, readable or not."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


def keep_previous(folder: Path) -> None:
    """Give the last state a second name, before a newer one takes its first."""
    last = folder / LAST
    if not last.exists():
        return  # it was set aside; the previous one is the newest that is whole
    with replacing(folder / PREVIOUS) as temporary:
        try:
            os.link(last, temporary)
        except OSError:  # a file system without links
            shutil.copy2(last, temporary)


def states(folder: Path, *, but_last: bool = False) -> list[Path]:
    """The files that only a resume needs, or all of them but the last state; some are not there."""
    names = (PREVIOUS, BROKEN) if but_last else (LAST, PREVIOUS, BROKEN)
    return [folder / name for name in names]


def newest_state(folder: Path, log: Callable[[str], None]) -> Path | None:
    """The last state that is whole; None when a training must begin.

    A broken last one is set aside as `broken.safetensors`, and `log` is told what is used instead.
    What a killed training had begun to write is deleted.
    """
    clear_up(folder)
    faults: list[str] = []
    for name in (LAST, PREVIOUS):
        path = folder / name
        fault = fault_of(path) if path.exists() else None
        if fault is None and path.exists():
            if faults:
                log(f"{'; '.join(faults)}; going on from {path}, the state before")
            return path
        if fault is not None:
            faults.append(f"{path} is broken ({fault})")
            with suppress(OSError):
                path.replace(folder / BROKEN)
    if faults:
        log(f"{'; '.join(faults)}; no whole state is left, so training begins again at epoch 1")
    return None
