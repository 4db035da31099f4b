"""The order of TensorBoard's event files in a folder, which is that of their names.

A name begins with the second in which the file was made, then come machine and process. A file
that begins with a restart hides all later epochs of the files before it. So two of one second, or
of machines whose clocks differ, could be read in the wrong order, and epochs would vanish.
"""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from detector.core.files import replacing

PREFIX = "events.out.tfevents."
VERSION = "brain.Event:2"  # of the format


def last_second(folder: Path) -> int:
    """The second in the name of the last event file of a folder; 0 without one."""
    seconds = [path.name.removeprefix(PREFIX).partition(".")[0] for path in _files(folder)]
    return max((int(s) for s in seconds if s.isdigit()), default=0)


def wait_for_the_next_second(folder: Path) -> None:
    """Return when a file made now is read after those there: at once, or within a second.

    Not for clocks that differ by more: nothing that could be waited for is worth a training's time.
    """
    if last_second(folder) == int(time.time()):
        time.sleep(1 - time.time() % 1)


def write_events(folder: Path, events: Iterable[Event]) -> None:
    """Add a file that is read after all others of the folder; it appears whole or not at all."""
    now = time.time()
    content = io.BytesIO()
    records = RecordWriter(content)
    for event in (Event(file_version=VERSION), *events):
        event.wall_time = now
        records.write(event.SerializeToString())
    folder.mkdir(parents=True, exist_ok=True)
    second = max(int(now), last_second(folder) + 1)
    name = f"{PREFIX}{second:010d}.{socket.gethostname()}.{os.getpid()}.0"
    with replacing(folder / name) as temporary:
        temporary.write_bytes(content.getvalue())


def _files(folder: Path) -> Iterable[Path]:
    return folder.glob(f"{PREFIX}*")
