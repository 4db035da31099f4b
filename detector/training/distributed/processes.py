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
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from detector.core.device import choose_device
from detector.core.errors import InputError, JobError
from detector.training.distributed.peers import ALONE, PeerLostError, Peers

START = timedelta(minutes=5)  # for imports, and to find one another
ANSWER = timedelta(minutes=30)  # the longest work of one process that others wait for
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
        others = [_start(rank, meeting, work, arguments) for rank in range(1, world)]
        patience = 0.0  # with processes that are still busy when the leader fails
        over = threading.Event()
        watch = threading.Thread(target=_watch, args=(others, over), daemon=True)
        watch.start()
        try:
            for other in others:
                other.require_ready()
            with _joined(0, meeting) as peers:
                yield peers
            patience = END_S
        except (PeerLostError, dist.DistError) as error:
            raise JobError(_reason(others, error)) from error
        finally:
            over.set()
            watch.join()
            _end(others, patience)


class _Meeting(NamedTuple):
    """Where processes find one another, and how the leader starts its loader processes."""

    start_method: str
    world: int
    cuda: bool
    store: Path


class _Other(NamedTuple):
    """A process that was started: it says None when it is ready, and text when it fails."""

    rank: int
    process: BaseProcess
    said: Connection

    def require_ready(self) -> None:
        try:
            if self.said.poll(START.total_seconds()) and self.said.recv() is None:
                return
        except EOFError:
            pass
        raise PeerLostError("it did not start")


def _start(
    rank: int, meeting: _Meeting, work: Callable[..., None], arguments: Sequence[Any]
) -> _Other:
    context = multiprocessing.get_context("spawn")  # a fork would share threads and the GPU
    said, say = context.Pipe(duplex=False)
    process = context.Process(
        target=_follow, args=(rank, meeting, say, work, arguments), name=f"training-{rank}"
    )
    process.start()
    say.close()  # so that the other end closes with the process
    return _Other(rank, process, said)


def _follow(
    rank: int,
    meeting: _Meeting,
    say: Connection,
    work: Callable[..., None],
    arguments: Sequence[Any],
) -> None:
    """The life of a process that does not lead."""
    multiprocessing.set_start_method(meeting.start_method, force=True)  # not that of its own start
    os.setpgrp()  # to end together with its loader processes
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the leader decides, and ends the others
    threading.Thread(target=_end_with_leader, daemon=True).start()
    try:
        say.send(None)
        with _joined(rank, meeting) as peers:
            work(peers, *arguments)
    except PeerLostError:
        sys.exit(1)  # whoever failed says why
    except (InputError, JobError) as error:
        say.send(str(error))
        sys.exit(1)
    except BaseException as error:
        traceback.print_exc()
        say.send(f"{type(error).__name__}: {error}")
        sys.exit(1)


def _end_with_leader() -> None:
    leader = multiprocessing.parent_process()
    assert leader is not None
    leader.join()
    os.killpg(0, signal.SIGKILL)


def _watch(others: Sequence[_Other], over: threading.Event) -> None:
    """End what a dead process left behind: loader processes hold its connections open."""
    while not over.wait(0.2):
        for other in others:
            if other.process.exitcode is not None:
                _kill(other.process)


def _kill(process: BaseProcess) -> None:
    """End a process, and its loader processes with it."""
    process.kill()
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _joined(rank: int, meeting: _Meeting) -> Iterator[Peers]:
    store = dist.FileStore(str(meeting.store), meeting.world)
    store.set_timeout(START)
    try:
        dist.init_process_group(
            "gloo", store=store, rank=rank, world_size=meeting.world, timeout=ANSWER
        )
    except RuntimeError as error:
        raise PeerLostError(str(error).splitlines()[0]) from error
    try:
        group = dist.new_group(backend="nccl", timeout=START) if meeting.cuda else None
        yield Peers(rank, meeting.world, group)
    finally:
        dist.destroy_process_group()


def _reason(others: Sequence[_Other], error: Exception) -> str:
    """Why a process ended, in its own words where it had time for some."""
    world = len(others) + 1
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline:
        for rank, process, said in others:
            why = _last_words(said)
            code = process.exitcode
            if why is None and code is not None and code < 0:
                why = f"it was killed by {signal.Signals(-code).name}"
                if -code == signal.SIGKILL:
                    why += ", as happens when the memory of the machine runs out"
            if why is not None:
                return f"process {rank + 1} of {world} (train.processes) ended: {why}"
        time.sleep(0.05)
    return (
        f"a process of the {world} of this training (train.processes) does not answer: {error}; "
        "continue with resume=true"
    )


def _last_words(said: Connection) -> str | None:
    try:
        while said.poll():
            word = said.recv()
            if word is not None:
                return str(word)
    except (EOFError, OSError):
        pass
    return None


def _end(others: Sequence[_Other], patience: float) -> None:
    """Wait for the processes, then kill what is left of them."""
    deadline = time.monotonic() + patience
    for other in others:
        other.process.join(max(0.0, deadline - time.monotonic()))
    for other in others:
        _kill(other.process)
        other.process.join(END_S)
        other.said.close()
