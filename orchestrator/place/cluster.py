"""Ray itself: started on this machine, or joined where RAY_ADDRESS says; quiet either way."""

from __future__ import annotations

import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants, ray_logging, worker
from ray.exceptions import RayError

from detector.config.cli import log
from detector.core.errors import InputError, JobError
from detector.core.files import write_text
from orchestrator.place.interruption import handlers_kept
from orchestrator.place.joining import (
    cluster_address,
    is_of_this_machine_alone,
    keep_private,
    no_answer,
)
from orchestrator.place.preflight import require_ready, short_folder
from orchestrator.place.resources import LABEL, Machine

OBJECT_STORE_BYTES = 200_000_000  # trials exchange a few numbers; images never pass through Ray
START_ATTEMPTS = 4
OVER_SESSIONS = 2  # folders of a Ray that is over which are kept, for those who want its logs
OWNER = "search.pid"  # in such a folder: whose Ray it was
SNAPSHOT_S = 3600  # of Tune's own state, which nothing reads (see orchestrator.run.study)
_TOO_SLOW = "timed out during startup"  # of what Ray says, as a plain Exception

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's tables, which verbose=0 alone does not stop
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # its own CSV, JSON and TensorBoard files
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # errors are in the leaderboard and in error.txt
    "RAY_USAGE_STATS_ENABLED": "0",
}
BEHAVIOUR = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the search here; the study has its state
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a report without a score fails its trial only
    "TUNE_GLOBAL_CHECKPOINT_S": str(SNAPSHOT_S),
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean the same in a trial
}
LOGS = {"RAY_ROTATION_MAX_BYTES": "20000000", "RAY_ROTATION_BACKUP_COUNT": "1"}  # not 512 MB each


@contextmanager
def connected(machine: Machine) -> Iterator[list[Machine]]:
    """Ray running for the block, on the cluster if there is one; yields its machines.

    InputError when what Ray needs is not there; see `orchestrator.place.preflight`.
    """
    os.environ.update(BEHAVIOUR)
    for name, value in (QUIET | LOGS).items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        yield machines()
        return
    require_ready()
    address = cluster_address()
    try:
        with warnings.catch_warnings(), handlers_kept():
            warnings.simplefilter("ignore")
            _start(address, machine)
        _silence()
        yield machines()
    finally:
        with handlers_kept():
            ray.shutdown()


def machines() -> list[Machine]:
    """What every live machine of the running cluster offers."""
    return [
        Machine(
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
            node["Labels"].get(LABEL, ""),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def _start(address: str | None, machine: Machine) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is not None:
        try:
            with _on_loopback() if is_of_this_machine_alone(address) else nullcontext():
                ray.init(address=address, **quiet)
        except (OSError, ValueError, RayError) as error:
            raise InputError(no_answer(address, error)) from None
        return
    _start_here(machine, quiet)
    forget_sessions(Path(worker.global_worker.node.get_session_dir_path()))
    keep_private(Path.home() / ".ray" / "auth_token")


def _start_here(machine: Machine, quiet: dict[str, Any]) -> None:
    """Start Ray on this machine: Ray gives itself half a minute, a busy machine may need more.

    InputError when there is no folder for its sockets.
    """
    folder = short_folder()
    for left in reversed(range(START_ATTEMPTS)):
        try:
            with _on_loopback():
                ray.init(
                    address="local",
                    num_cpus=int(machine.cpus),
                    num_gpus=int(machine.gpus),
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _temp_dir=None if folder is None else str(folder),
                    **quiet,
                )
            return
        except Exception as error:
            if _TOO_SLOW not in str(error):
                raise
            ray.shutdown()
            if not left:
                raise JobError(
                    f"Ray did not start on this machine in {START_ATTEMPTS} tries of half a "
                    "minute; see whether something else keeps its cores or its disk busy"
                ) from None
        log("Ray did not start within half a minute; this machine is busy: trying again")


def forget_sessions(own: Path) -> None:
    """Note that Ray's folder is of this process, and delete those of searches that are over.

    Ray never deletes one. The newest OVER_SESSIONS stay, and all that others have started.
    """
    write_text(own / OWNER, str(os.getpid()))
    over = [
        folder
        for folder in own.parent.glob("session_*")
        if not folder.is_symlink() and _is_over(folder / OWNER)
    ]
    for folder in sorted(over)[:-OVER_SESSIONS]:  # their names begin with the time
        shutil.rmtree(folder, ignore_errors=True)


def _is_over(owner: Path) -> bool:
    """Whether the process that a file names has ended; not where there is no such file."""
    try:
        os.kill(int(owner.read_text(encoding="utf-8")), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):  # another user's, or another program's
        return False
    return False


@contextmanager
def _on_loopback() -> Iterator[None]:
    """A Ray that is started in the block takes part in no network: it listens on 127.0.0.1 alone.

    Given `_node_ip_address="127.0.0.1"`, Ray looks for an address of a network nevertheless. Where
    it knows no clusters, as on Windows and macOS, it does not.
    """
    clusters = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters


def _silence() -> None:
    """Stop what Ray logs and prints in this process (its files in /tmp/ray have it all)."""
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # A raylet's messages are printed whatever log_to_driver says, and the filter meant for
    # them, RAY_DEDUP_LOGS_SKIP_REGEX, is read before any of our code can set it.
    ray_logging.stdout_deduplicator.skip_re = re.compile("")
