"""What ends a search from outside, as one clear message that says how to go on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError

from detector.core.commands import command
from detector.core.errors import JobError
from orchestrator.config.settings import SearchConfig
from orchestrator.store.bucket import BucketError
from orchestrator.store.storage import without_password


def again(config: SearchConfig, folder: Path) -> str:
    """The command that continues this run: on the same cluster, in the same storage."""
    arguments: dict[str, Any] = {"space": config.space, "name": folder.name}
    if config.runs_dir != Path("runs"):
        arguments["runs_dir"] = config.runs_dir
    for key, value in (("bucket", config.bucket), ("storage", without_password(config.storage))):
        if value:
            arguments[key] = value
    return command("orchestrator.search", arguments | {"resume": True}, variables=joined())


def joined() -> dict[str, str]:
    """The variables with which a command joins the cluster that this one has joined."""
    address = os.environ.get("RAY_ADDRESS", "")
    return {"RAY_ADDRESS": address} if address not in ("", "local") else {}


def advice(how_to_go_on: str) -> str:
    """What is said when a user or a batch system has ended a search."""
    return f"interrupted; every finished epoch is saved. Continue with:\n  {how_to_go_on}"


@contextmanager
def explained(folder: Path, how_to_go_on: str) -> Iterator[None]:
    """JobError, with the command that goes on, for a database, bucket or disk that fails inside.

    Trials that were running keep their last finished epoch, as after any other end.
    """
    try:
        yield
    except StorageInternalError as error:
        said = (str(error.__cause__ or error).strip() or "it gives no reason").splitlines()[0]
        what = f"{folder}: the study's database cannot be used ({said}); check it and its disk"
    except BucketError as error:
        what = str(error)
    except OSError as error:
        if error.errno is None:
            raise
        place = error.filename or folder
        what = f"{place}: {error.strerror}; check the disk and what may be written there"
    else:
        return
    raise JobError(f"{what}, then continue with:\n  {how_to_go_on}")
