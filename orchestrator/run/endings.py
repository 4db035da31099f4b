"""What ends a search from outside, as one clear message that says how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.exceptions import StorageInternalError
from ray.tune.error import TuneError

from detector.errors import JobError
from orchestrator.config.settings import SearchConfig
from orchestrator.store.bucket import BucketError


def again(config: SearchConfig, folder: Path) -> str:
    """The command that continues this run."""
    where = "" if config.runs_dir == Path("runs") else f" runs_dir={config.runs_dir}"
    bucket = f" bucket={shlex.quote(config.bucket)}" if config.bucket else ""
    return (
        f"python -m orchestrator.search space={config.space} name={folder.name}{where}{bucket} "
        "resume=true"
    )


def advice(command: str) -> str:
    """What is said when a user or a batch system has ended a search."""
    return f"interrupted; every finished epoch is saved. Continue with:\n  {command}"


@contextmanager
def explained(folder: Path, command: str) -> Iterator[None]:
    """JobError for a database, bucket or disk that fails in the block; `command` continues the run.

    Trials that were running keep their last finished epoch, as after any other end.
    """
    try:
        yield
    except (TuneError, StorageInternalError, BucketError, OSError) as error:
        cause = _cause(error)
        if isinstance(cause, StorageInternalError):
            said = (str(cause.__cause__ or cause).strip() or "it gives no reason").splitlines()[0]
            what = f"{folder}: the study's database cannot be used ({said}); check it and its disk"
        elif isinstance(cause, BucketError):
            what = str(cause)
        elif isinstance(cause, OSError) and cause.errno is not None:
            place = cause.filename or folder
            what = f"{place}: {cause.strerror}; check the disk and what may be written there"
        else:
            raise
        raise JobError(f"{what}, then continue with:\n  {command}") from None


def _cause(error: BaseException) -> BaseException:
    """The error itself, or what Ray Tune made its own error of: a searcher or callback raised it.

    Tune raises while it handles the other, and keeps that one's text alone.
    """
    cause: BaseException | None = error
    while isinstance(cause, TuneError):
        cause = cause.__cause__ or cause.__context__
    return error if cause is None else cause
