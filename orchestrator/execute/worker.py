"""One process, one trial after another: when it may go on, and how it ends when it may not.

Starting a process costs seconds of imports, so Ray Tune gives the process of a trial that ended
to the next one. It does that for a trial that returned, whatever it reported, and never for one
that raised. So an error of the trial's own is reported, and what has spoilt the process is raised.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from detector.core.device_errors import is_device_error, memory_given_back, release_memory
from orchestrator.store.bucket import BucketError

LEFT_BYTES = 64 * 2**20  # on a GPU, after a trial: cuBLAS keeps that much for itself
# Tune waits so long for a stopped trial to clean up (loader processes, files). Its own two
# seconds are often not enough, and then it loses the next trial without a word.
CLEANUP_S = 60


class SpoiltProcessError(RuntimeError):
    """A trial failed with a device error; the text is its reason. Its process must not go on."""


class UsedUpProcessError(RuntimeError):
    """A process cannot run one more trial, which has not begun and may go to another."""


def in_this_process(
    run: Callable[[], None],
    *,
    explain: Callable[[Exception], str],
    report: Callable[[str], None],
) -> None:
    """Call `run`, report its error, and leave the process fit for the next trial.

    `explain` makes the reason out of an error and `report` takes it. Raises UsedUpProcessError,
    before anything is run, when an earlier trial has left memory of a GPU behind, and
    SpoiltProcessError after a device error. A bucket that does not answer is no fault of the trial
    either, so BucketError passes through. A trial that Tune stops leaves by SystemExit, which
    passes through.
    """
    os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", str(CLEANUP_S))
    held = release_memory()
    if held > LEFT_BYTES:
        raise UsedUpProcessError(f"an earlier trial left {held / 2**20:.0f} MiB on the GPU")
    with memory_given_back():
        try:
            run()
        except BucketError:
            raise
        except Exception as error:
            reason = explain(error)
            if is_device_error(error):
                raise SpoiltProcessError(reason) from None
            report(reason)
