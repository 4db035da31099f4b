"""Ctrl-C, SIGTERM and a closed terminal during a search."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import ray

from orchestrator.trials.job import Listener

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
# `timeout` and some batch systems send a signal to the process and to its group: one wish.
SAME_WISH_S = 0.5
INTERRUPTED = 130  # exit code


class Interruption(Listener):
    """Lets Ctrl-C, SIGTERM (a batch system, `kill`) and SIGHUP end the block by KeyboardInterrupt.

    An exception out of a signal handler is lost when the signal arrives inside a finalizer
    or a callback from C; `step`, which is called regularly, raises it again. The second signal ends
    the process at once, with exit code 130, after the line `advice`. What ignores a signal already
    (`nohup`) goes on ignoring it.
    """

    def __init__(self, advice: str = "interrupted") -> None:
        self._advice = advice
        self._asked: float | None = None  # when the first signal came
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def step(self) -> None:
        """Raise KeyboardInterrupt when the user has asked to stop."""
        if self._asked is not None:
            raise KeyboardInterrupt

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            if signal.Signals(number).name == "SIGHUP":
                _forget_terminal()
            raise KeyboardInterrupt
        if now - self._asked > SAME_WISH_S:
            # Not `print`: it may be what was interrupted. Ray's processes on this machine end with
            # their parent, which Linux sees to (prctl) and elsewhere a process of Ray's.
            os.write(2, f"\n{self._advice}\n".encode())
            os._exit(INTERRUPTED)


def _forget_terminal() -> None:
    """Write to nowhere in place of a terminal that is gone; every write to it would be an error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            number = stream.fileno()
            if stat.S_ISCHR(os.fstat(number).st_mode):  # `isatty` of a closed one is False
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        except (OSError, ValueError):  # it is no file, or closed
            continue


@contextmanager
def handlers_kept() -> Iterator[None]:
    """For the block, and after it, Ray takes nobody's handler of SIGTERM away.

    `ray.init` (2.50 to 2.60) replaces it twice: in Python by one that ends the process with no
    word to anyone, which is prevented, and below Python by one that aborts it with a stack trace,
    which is replaced again. `ray.shutdown` takes that away below Python, and with it the one that
    Python believes to be there: SIGTERM would end the process. Where nobody has set a handler, Ray
    may.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if handler is signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield
        return
    utils: Any = getattr(getattr(ray, "_private", None), "utils", None)
    original = getattr(utils, "set_sigterm_handler", None)
    if original is not None:
        utils.set_sigterm_handler = lambda _handler: None
    try:
        yield
    finally:
        if original is not None:
            utils.set_sigterm_handler = original
        signal.signal(signal.SIGTERM, handler)
