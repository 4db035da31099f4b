"""Ctrl-C and SIGTERM during a search."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, NoReturn


class Interruption:
    """Lets Ctrl-C and SIGTERM (a batch system, `kill`) end the block as KeyboardInterrupt.

    An exception out of a signal handler is lost when the signal arrives inside a finalizer
    or a callback from C; whoever calls `check` regularly raises it again.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt when the user has asked to stop."""
        if self._asked:
            raise KeyboardInterrupt

    def _stop(self, _signal: int, _frame: FrameType | None) -> NoReturn:
        self._asked = True
        raise KeyboardInterrupt
