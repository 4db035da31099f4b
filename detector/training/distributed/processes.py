"""The processes that share one training: started, heard, and ended with it.

The calling process leads as rank 0 and starts the others. They agree over gloo, which notices
at once when one of them dies; on GPUs the tensors themselves go over NCCL.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes

from detector.core.device import choose_device
from detector.core.device_errors import is_out_of_memory, out_of_memory_text
from detector.core.errors import InputError, JobError
from detector.training.distributed.peers import ALONE, Peers

START = timedelta(minutes=5)  # for imports, and to find one another
ANSWER = timedelta(minutes=30)  # the longest work of one process that others wait for
ENDED = "ended"  # the store's name for why a process did
END_S = 10.0  # to end on their own, or to say why they did


def device_of(name: str, rank: int, world: int) -> torch.device:
    """The device of process `rank`: `choose_device`, or a GPU each.

    Raises InputError when there are fewer GPUs than processes.
    """
    device = choose_device(name)
    if world == 1 or device.type == "cpu":
        return device
    gpus = torch.cuda.device_count()
    if gpus < world:
        raise InputError(
            f"train.processes: {world} processes need {world} GPUs, one each, and torch sees "
            f"{gpus}; use train.processes={gpus}, or train.device=cpu"
        )
    torch.cuda.set_device(rank)
    return torch.device("cuda", rank)


def threads_of(threads: int | None, world: int) -> int | None:
    """CPU threads of one process: as given, or an even share of the cores among several."""
    if threads is not None or world == 1:
        return threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // world)


@contextmanager
def shared(
    world: int, *, cuda: bool, work: Callable[..., None], arguments: Sequence[Any]
) -> Iterator[Peers]:
    """The peers of this process: new ones that run `work(peers, *arguments)`, none with 1.

    `work` is a module's function and `arguments` can be pickled. None of the processes
    outlives the block. Raises JobError, with the reason, when one ends before its time.
    """
    if world == 1:
        yield ALONE
        return
    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        method = multiprocessing.get_context().get_start_method()
        meeting = _Meeting(method, world, cuda, Path(folder) / "store")
        # A fork would share threads and the GPU.
        started = start_processes(
            _follow, (meeting, work, arguments), world - 1, join=False, start_method="spawn"
        )
        others = started.processes
        store = meeting.opened()
        patience = 0.0  # with processes that are still busy when the leader fails
        try:
            _require_ready(others, store)
            with meeting.joined(0, store) as peers, _watched(others, cuda):
                yield peers
            patience = END_S
        except RuntimeError as error:
            if not _is_lost(error):
                raise
            raise JobError(_reason(others, store, error)) from error
        finally:
            _end(others, patience)


class _Meeting(NamedTuple):
    """Where processes find one another, and how the leader starts its loader processes."""

    start_method: str
    world: int
    cuda: bool
    store: Path

    def opened(self) -> dist.FileStore:
        """What all processes read and write, before and after they are joined too."""
        store = dist.FileStore(str(self.store), self.world)
        store.set_timeout(START)
        return store

    @contextmanager
    def joined(self, rank: int, store: dist.FileStore) -> Iterator[Peers]:
        """The process as one of the group."""
        backend = "cpu:gloo,cuda:nccl" if self.cuda else "gloo"
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=self.world, timeout=ANSWER
        )
        try:
            yield Peers(rank, self.world)
        except BaseException:
            _abort(self.cuda)
            raise
        finally:
            dist.destroy_process_group()


def _follow(
    index: int, meeting: _Meeting, work: Callable[..., None], arguments: Sequence[Any]
) -> None:
    """The life of a process that does not lead."""
    multiprocessing.set_start_method(meeting.start_method, force=True)  # not that of its own start
    os.setpgrp()  # to end together with its loader processes
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the leader decides, and ends the others
    threading.Thread(target=_end_with_leader, daemon=True).start()
    rank, store = index + 1, meeting.opened()
    store.set(f"ready/{rank}", "")
    with meeting.joined(rank, store) as peers:
        try:
            work(peers, *arguments)
        except BaseException as error:
            if not _is_lost(error):  # else whoever failed says why
                why = _why(error)
                # Before the others see this process leave, and only by the first that fails.
                store.compare_set(ENDED, "", _ended(rank, meeting.world, why))
            sys.exit(1)


def _why(error: BaseException) -> str:
    if isinstance(error, InputError | JobError):
        return str(error)
    traceback.print_exc()
    if is_out_of_memory(error):
        return out_of_memory_text(error)
    return f"{type(error).__name__}: {error}"


def _ended(rank: int, world: int, why: str) -> str:
    return f"process {rank + 1} of {world} (train.processes) ended: {why}"


def _is_lost(error: BaseException) -> bool:
    """Whether an exchange failed, as it does when another process has gone."""
    if not isinstance(error, RuntimeError) or isinstance(error, JobError):
        return False
    return isinstance(error, dist.DistError) or "/gloo/" in str(error)


def _end_with_leader() -> None:
    leader = multiprocessing.parent_process()
    assert leader is not None
    leader.join()
    os.killpg(0, signal.SIGKILL)


def _require_ready(others: Sequence[BaseProcess], store: dist.FileStore) -> None:
    names = [f"ready/{rank}" for rank in range(1, len(others) + 1)]
    deadline = time.monotonic() + START.total_seconds()
    while not store.check(names):
        late = time.monotonic() > deadline
        if late or any(other.exitcode is not None for other in others):
            raise dist.DistError("it did not start")
        time.sleep(0.05)


@contextmanager
def _watched(others: Sequence[BaseProcess], cuda: bool) -> Iterator[None]:
    """Within the block, what waits for a dead process ends."""
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(others, cuda, over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _watch(others: Sequence[BaseProcess], cuda: bool, over: threading.Event) -> None:
    aborted = False
    while not over.wait(0.2):
        dead = [other for other in others if other.exitcode is not None]
        for other in dead:
            _kill(other)  # its loader processes hold its connections open
        if not aborted and any(other.exitcode != 0 for other in dead):
            _abort(cuda)
            aborted = True


def _abort(cuda: bool) -> None:
    """End exchanges that GPUs are at: unlike gloo's they would wait for the dead."""
    if cuda and dist.group.WORLD is not None:
        dist.group.WORLD.abort()


def _kill(process: BaseProcess) -> None:
    """End a process, and its loader processes with it."""
    process.kill()
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _reason(others: Sequence[BaseProcess], store: dist.FileStore, error: Exception) -> str:
    """Why a process ended, in its own words where it had time for some."""
    world = len(others) + 1
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline:
        for rank, other in enumerate(others, start=1):
            if other.exitcode is not None and other.exitcode < 0:
                why = f"it was killed by {signal.Signals(-other.exitcode).name}"
                if -other.exitcode == signal.SIGKILL:
                    why += ", as happens when the memory of the machine runs out"
                return _ended(rank, world, why)
        if store.check([ENDED]):
            return store.get(ENDED).decode()
        time.sleep(0.05)
    return (
        f"a process of the {world} of this training (train.processes) does not answer: "
        f"{str(error).splitlines()[0]}; continue with resume=true"
    )


def _end(others: Sequence[BaseProcess], patience: float) -> None:
    """Wait for the processes, then kill what is left of them."""
    deadline = time.monotonic() + patience
    for other in others:
        other.join(max(0.0, deadline - time.monotonic()))
    for other in others:
        _kill(other)
        other.join(END_S)
