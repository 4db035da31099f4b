"""A trial that Ray kills when a machine's memory runs low fails alone, not with its search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ray.exceptions import OutOfMemoryError, RayActorError

Manager: Any = None
with suppress(ImportError):  # private, so a later Ray may have it elsewhere, or need no help
    from ray.air.execution._internal.actor_manager import RayActorManager as Manager


@contextmanager
def memory_kills_reported() -> Iterator[None]:
    """For the block, Ray Tune learns of a worker killed for memory as of any other lost worker.

    Its actor manager (Ray 2.60) knows two classes of error and raises on all others, out of
    `Tuner.fit`. OutOfMemoryError is neither: Ray made room on a machine, and the whole search
    would end. The text says what happened, so nothing is lost by the other class.
    """
    original = getattr(Manager, "_actor_task_failed", None)
    if original is None:
        yield
        return

    def translated(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=str(exception))
        original(manager, tracked_actor_task=tracked_actor_task, exception=exception)

    Manager._actor_task_failed = translated
    try:
        yield
    finally:
        Manager._actor_task_failed = original
