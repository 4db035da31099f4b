"""Where a study is kept: a database by its URL, or a journal file; passwords are kept nowhere.

SQLite asks more of its file's locks than some network file systems give; a journal does not
(https://optuna.readthedocs.io, JournalFileBackend), and a database server needs no shared file.
"""

from __future__ import annotations

import os
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from detector.core.files import expand_home

DATABASE, JOURNAL = "study.db", "study.journal"  # names in the run folder
JOURNAL_SCHEME = "journal:"
LOCK_TIMEOUT_S = 60.0
SECRETS = ("password", "sslpassword")  # of a URL's query


def storage_url(folder: Path, storage: str | None) -> str:
    """Where the study of a run is: `storage`, or a file in the run folder.

    None is `study.db`, an SQLite database; "journal" is `study.journal`, and "journal:PATH" a
    journal elsewhere. Everything else is an SQLAlchemy URL, such as
    postgresql+psycopg://USER@HOST/DATABASE.
    """
    if storage == "journal":
        return f"{JOURNAL_SCHEME}{(folder / JOURNAL).resolve()}"
    return storage or f"sqlite:///{(folder / DATABASE).resolve()}"


def without_password(storage: str | None) -> str | None:
    """The storage as it may be written down and shown; it still tells which one it is."""
    if storage is None or storage.startswith(JOURNAL_SCHEME):
        return storage
    try:
        url = make_url(storage)
    except ArgumentError:
        return storage  # not a URL at all, which is said where it is opened
    # Here None means no password; to `URL.set` it would mean the one that there is.
    bare = url._replace(password=None).difference_update_query(SECRETS)
    return storage if bare == url else bare.render_as_string(hide_password=False)


def open_storage(url: str) -> BaseStorage:
    """The storage at a URL of `storage_url`, made if it is not there.

    Raises what Optuna and SQLAlchemy raise for a wrong URL, a missing driver or a database that
    does not answer, and OSError for a journal's file.
    """
    if url.startswith(JOURNAL_SCHEME):
        return _open_journal(expand_home(url.removeprefix(JOURNAL_SCHEME)).resolve())
    if url.startswith("sqlite"):
        # A report tool may be reading while the search writes: wait for it rather than fail.
        return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": LOCK_TIMEOUT_S}})
    # A search lasts longer than many connections: each is tried before it is used.
    return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})


def _open_journal(path: Path) -> JournalStorage:
    """The journal at an absolute path, without the line that a power cut left unfinished.

    Optuna would put its next line right behind that, and could never read the journal again.
    """
    lock = JournalFileSymlinkLock(str(path))
    backend = JournalFileBackend(str(path), lock_obj=lock)
    lock.acquire()
    try:
        with path.open("r+b") as file:
            whole = file.read().rfind(b"\n") + 1
            if whole < os.fstat(file.fileno()).st_size:
                file.truncate(whole)
    finally:
        lock.release()
    return JournalStorage(backend)
