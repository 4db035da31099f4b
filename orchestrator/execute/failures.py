"""Why a worker was lost, from what Ray says.

Errors that a trial raises itself are reported by its process (see `orchestrator.execute.worker`).
What comes here is what no process could report, because it is gone.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError, RayTaskError

from orchestrator.execute.worker import SpoiltProcessError, UsedUpProcessError
from orchestrator.store.bucket import BucketError
from orchestrator.trials.failure import Failure, Kind

REASON_LENGTH = 300


# What Ray 2.50 to 2.60 writes. The class alone does not tell: an actor's death is one class,
# whatever it died of.
_MEMORY = "killed due to the node running low on memory"
_NODE = "its node has died"
_WORKER = "died unexpectedly before finishing"
_CREATION = "raised in its creation task"
_USED = re.compile(r"was ([\d.]+GB) used / ([\d.]+GB) limit")
_OWN = re.compile(r"actual memory used=([\d.]+GB)")


def failure_of(error: BaseException | str | None) -> Failure:
    """The failure behind an error of Ray or Tune, or behind its text."""
    text = str(error or "").strip()
    if isinstance(error, RayTaskError):
        return _of_task(error)
    if isinstance(error, OutOfMemoryError) or _MEMORY in text:
        return Failure(Kind.NODE_OUT_OF_MEMORY, _memory_reason(text))
    if isinstance(error, ActorUnavailableError) or _NODE in text or _preempted(error):
        return Failure(Kind.LOST_NODE, "the machine that it ran on went away, or does not answer")
    if _CREATION in text:
        return Failure(Kind.BUG, f"its process could not start: {_last_line(text)}")
    if isinstance(error, RayActorError) or _WORKER in text:
        reason = "its process died: it was killed, as happens when memory runs out, or crashed"
        return Failure(Kind.LOST_WORKER, reason)
    return Failure(Kind.BUG, _last_line(text))


def error_of(trial: Any) -> BaseException | str | None:
    """The last error of a Tune trial, or its text; None when there is none.

    `Trial.get_error` looks into the storage, where the files of a trial come minutes later.
    """
    if trial.pickled_error_file is not None:
        with suppress(Exception):  # of a class that this process cannot import; the text remains
            error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
            assert isinstance(error, BaseException)
            return error
    with suppress(OSError, TypeError):
        return Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    return None


def _of_task(error: RayTaskError) -> Failure:
    """An exception that reached Ray out of a trial."""
    cause = error.cause
    if isinstance(cause, UsedUpProcessError):
        return Failure(Kind.LOST_WORKER, str(cause))
    if isinstance(cause, BucketError):
        return Failure(Kind.NO_BUCKET, str(cause)[:REASON_LENGTH])
    if isinstance(cause, RayActorError):
        return failure_of(cause)
    if isinstance(cause, SpoiltProcessError):
        return Failure(Kind.BUG, str(cause))
    return Failure(Kind.BUG, _last_line(f"{type(cause).__name__}: {' '.join(str(cause).split())}"))


def _memory_reason(text: str) -> str:
    """`out of memory: ...` with the figures that Ray gives and what to change."""
    used, own = _USED.search(text), _OWN.search(text)
    figures = f", {used[1]} of {used[2]}" if used else ""
    share = f"; this trial had {own[1]}" if own else ""
    return (
        f"out of memory: its machine ran low{figures}{share}; run fewer trials at once "
        "(budget.concurrent, resources.cpus_per_trial), or use a smaller train.batch_size, "
        "augment.crop_px or data.workers"
    )


def _preempted(error: BaseException | str | None) -> bool:
    return isinstance(error, RayActorError) and error.preempted


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "unknown")[:REASON_LENGTH]
