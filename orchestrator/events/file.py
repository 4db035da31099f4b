"""`events.jsonl` in a run's folder: an event a line, in the order in which they happened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from detector.core.escape import encodable
from orchestrator.events.kinds import ANY, Event, now

NAME = "events.jsonl"


class EventFile:
    """Appends events to the file in `folder`, each at once.

    Where that cannot be done `say` is told, once: a search is worth more than what is told of it.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._path, self._say = folder / NAME, say
        self._said = False

    def append(self, event: Event) -> None:
        """Write an event as one line, with the time that it is."""
        values = event.model_copy(update={"time": now()}).model_dump(mode="json")
        line = encodable(json.dumps(values, ensure_ascii=False)).encode() + b"\n"
        try:
            _append(self._path, line)
        except OSError as error:
            if not self._said:
                self._said = True
                self._say(f"{self._path}: {error.strerror}; events are missing there from now on")


def _append(path: Path, line: bytes) -> None:
    """Add a line; what a killed or hindered writer has left of another one becomes a line too."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            line = b"\n" + line
        while line:  # a disk that fills up takes a part
            line = line[os.write(file, line) :]
    finally:
        os.close(file)


def read_events(folder: Path) -> Iterator[dict[str, Any]]:
    """The events of a run as plain values; none where there is no file, or none that can be read.

    A line that was cut off when its writer was killed, or is no event, is left out.
    """
    path = folder / NAME
    try:
        # A device or a pipe in its place may have no end.
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return
    for line in text.split("\n"):
        try:
            values: dict[str, Any] = json.loads(line)
            ANY.validate_python(values)
        except (ValueError, RecursionError):
            continue
        yield values
