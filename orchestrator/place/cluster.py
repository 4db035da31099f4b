"""Ray itself: started on this machine, or joined where RAY_ADDRESS says; quiet either way."""

from __future__ import annotations

import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_logging
from ray._private.services import get_ray_address_from_environment
from ray.exceptions import RayError

from detector.cli import log
from detector.errors import InputError, JobError
from orchestrator.place.cluster_token import keep_private, refusal
from orchestrator.place.interruption import handlers_kept
from orchestrator.place.resources import Machine

OBJECT_STORE_BYTES = 200_000_000  # trials exchange a few numbers; images never pass through Ray
CONNECT_TIMEOUT_S = 10.0
START_ATTEMPTS = 4
SNAPSHOT_S = 3600  # of Tune's own state, which nothing reads (see orchestrator.run.study)
LONGEST_FOLDER = 36  # bytes
SHORT_FOLDERS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
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


def cluster_address() -> str | None:
    """Where a running cluster is, from RAY_ADDRESS; None means this machine alone."""
    address = os.environ.get("RAY_ADDRESS", "")
    return address if address not in ("", "local") else None


@contextmanager
def connected(machine: Machine) -> Iterator[list[Machine]]:
    """Ray running for the block, on the cluster if there is one; yields its machines.

    InputError when RAY_ADDRESS names a cluster that does not answer.
    """
    os.environ.update(BEHAVIOUR)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        yield machines()
        return
    address = cluster_address()
    try:
        with warnings.catch_warnings(), handlers_kept():
            warnings.simplefilter("ignore")
            _start(address, machine)
        _silence()
        yield machines()
    finally:
        ray.shutdown()


def machines() -> list[Machine]:
    """What every live machine of the running cluster offers."""
    offers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Machine(offer.get("CPU", 0.0), offer.get("GPU", 0.0)) for offer in offers]


def _start(address: str | None, machine: Machine) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is not None:
        try:
            _require_answer(address)
            ray.init(address=address, **quiet)
        except InputError:
            raise
        except (OSError, ValueError, RayError) as error:
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(
                f"RAY_ADDRESS={address}: no Ray cluster answers there ({line}); "
                "start one (see cluster.yaml) or unset RAY_ADDRESS to use this machine"
            ) from None
        return
    _start_here(machine, quiet)
    keep_private(Path.home() / ".ray" / "auth_token")


def short_folder(others: Sequence[Path] = SHORT_FOLDERS) -> Path | None:
    """A folder for Ray in place of one that is too long for its sockets; None where it is not.

    The path of a socket has at most 107 bytes (`man 7 unix`), of which Ray's own names take about
    70. Batch systems give jobs long temporary folders. InputError when no short one is writable.
    """
    name = next((n for n in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(n)), None)
    if name is None or len(os.fsencode(os.environ[name])) <= LONGEST_FOLDER:
        return None
    for folder in others:
        if os.access(folder, os.W_OK | os.X_OK):
            log(f"{name} is too long for Ray's sockets: Ray works in {folder / 'ray'} instead")
            return folder / "ray"
    raise InputError(
        f"{name}: must have at most {LONGEST_FOLDER} bytes, for the sockets that Ray makes there, "
        f"got {os.environ[name]}; set RAY_TMPDIR to a short folder that is writable"
    )


def _start_here(machine: Machine, quiet: dict[str, Any]) -> None:
    """Start Ray on this machine: Ray gives itself half a minute, a busy machine may need more.

    InputError when there is no folder for its sockets.
    """
    folder = short_folder()
    for left in reversed(range(START_ATTEMPTS)):
        try:
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


def _require_answer(address: str) -> None:
    """Whether the cluster answers and lets us in; Ray itself would retry for minutes.

    OSError when nothing listens at `host:port`, or `auto` finds no cluster on this machine;
    InputError when the cluster asks for a token that we do not send.
    """
    automatic = address == "auto"
    if automatic:
        address = get_ray_address_from_environment(address, None)
    scheme, _, place = address.rpartition("://")
    host, colon, port = place.rpartition(":")
    if not colon or not port.isdigit():
        return
    socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    refused = None if scheme else refusal(place, automatic=automatic)
    if refused:
        raise InputError(f"RAY_ADDRESS={'auto' if automatic else address}: {refused}")


def _silence() -> None:
    """Stop what Ray logs and prints in this process (its files in /tmp/ray have it all)."""
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # A raylet's messages are printed whatever log_to_driver says, and the filter meant for
    # them, RAY_DEDUP_LOGS_SKIP_REGEX, is read before any of our code can set it.
    ray_logging.stdout_deduplicator.skip_re = re.compile("")
