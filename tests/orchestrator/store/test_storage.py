"""Where a study may be kept: SQLite, a journal, a real PostgreSQL; and passwords nowhere."""

from __future__ import annotations

import csv
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from optuna.trial import create_trial

from detector.core.errors import InputError
from orchestrator import report, search
from orchestrator.run import run_folder
from orchestrator.run import study as store
from orchestrator.store.storage import open_storage, storage_url, without_password

ROOT = Path(__file__).parents[3]
PASSWORD = "not%to/be:seen"
IN_URL = "not%25to%2Fbe%3Aseen"
SPACE = """\
description: a space for tests
parameters:
  loss.negative_ratio: {choice: [1.0, 2.0, 3.0]}
budget: {trials: 2, epochs: 2, grace_epochs: 2, reduction_factor: 2}
"""


def two_epochs(seconds=0.0):
    def trial(job, report):
        best = job.folder / "checkpoint" / "best"
        best.mkdir(parents=True, exist_ok=True)
        for epoch in (1, 2):
            (best / "model.safetensors").write_text(f"weights of trial {job.number}")
            (best / "config.yaml").write_text("model: {}\n")
            hmean = job.params["loss.negative_ratio"] / 10
            report(
                {
                    **{"epoch": epoch, "finished": epoch == 2, "best_epoch": 1.0},
                    **{"hmean": hmean, "best_hmean": hmean, "seconds": 2.0 * epoch},
                    "checkpoint": f"trials/{job.folder.name}/checkpoint/best",
                    "page_hmeans": {"a.jpg": hmean, "b.jpg": hmean},
                }
            )
            time.sleep(seconds)

    return trial


@pytest.fixture
def folder(tmp_path, monkeypatch, blank_pages) -> Path:
    """A working folder with a space and pages; no cluster is joined."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SPACE)
    blank_pages(tmp_path / "data", train=["page.jpg"], val=["page.jpg", "other.jpg"])
    return tmp_path


ARGUMENTS = ("space=tiny.yaml", "data.root=data", "name=first", "resources.gpus_per_trial=0")


def states(folder: Path) -> list[str]:
    with (folder / "runs" / "first" / "leaderboard.csv").open() as file:
        return [row["state"] for row in csv.DictReader(file)]


def test_the_storage_is_a_file_of_the_run_unless_it_is_named(tmp_path):
    assert storage_url(tmp_path, None) == f"sqlite:///{tmp_path}/study.db"
    assert storage_url(tmp_path, "journal") == f"journal:{tmp_path}/study.journal"
    assert storage_url(tmp_path, "journal:/elsewhere") == "journal:/elsewhere"
    assert storage_url(tmp_path, "postgresql://host/db") == "postgresql://host/db"


@pytest.mark.parametrize(
    ("storage", "shown"),
    [
        (None, None),
        ("journal", "journal"),
        ("journal:some/path:with@signs", "journal:some/path:with@signs"),
        ("sqlite:////tmp/study.db", "sqlite:////tmp/study.db"),
        ("postgresql+psycopg://me@host:5432/db", "postgresql+psycopg://me@host:5432/db"),
        (f"postgresql+psycopg://me:{IN_URL}@host/db", "postgresql+psycopg://me@host/db"),
        (
            f"postgresql+psycopg://host/db?user=me&password={IN_URL}&sslmode=require",
            "postgresql+psycopg://host/db?sslmode=require&user=me",
        ),
        ("nonsense", "nonsense"),
    ],
)
def test_a_password_is_left_out_of_what_is_shown(storage, shown):
    assert without_password(storage) == shown


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("runs_dir", "must be a folder of the search's own machine; .* give bucket=s3://bucket/k,"),
        ("data.cache", "s3:/bucket/k is not a path; copy it to the same path on each machine$"),
        ("bucket", "must be the address of a bucket"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_bucket_in_the_wrong_place_is_refused_before_a_folder_of_that_name_is_made(key, remedy):
    value = "/mnt/shared" if key == "bucket" else "s3://bucket/k"
    with pytest.raises(InputError, match=rf"^{key}: {remedy}"):
        search.main(["space=tiny.yaml", "data.root=data", f"{key}={value}"])
    assert sorted(path.name for path in Path().iterdir()) == ["data", "tiny.yaml"]


def test_a_journal_is_read_by_others_while_it_is_written(tmp_path):
    url = storage_url(tmp_path, "journal")
    writer = store.open_study(url, "run", resume=False)
    for number in range(3):
        writer.add(create_trial(value=float(number)))
        reader = store.stored_study(url, "run")
        assert [trial.value for trial in reader.trials] == [0.0, 1.0, 2.0][: number + 1]
    with pytest.raises(InputError, match=r"holds a study called 'run' already"):
        store.open_study(url, "run", resume=False)


def test_a_line_of_a_journal_that_was_cut_off_costs_no_other(tmp_path):
    url = storage_url(tmp_path, "journal")
    study = store.open_study(url, "run", resume=False)
    study.add(create_trial(value=1.0))
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes()
    study.add(create_trial(value=2.0))
    for length in range(len(whole), len(whole) + 20):  # from nothing of the line to part of it
        journal.write_bytes((whole + b'{"op_code":4,"worker_id":"some"')[:length])
        again = store.open_study(url, "run", resume=True)
        again.add(create_trial(value=3.0))
        values = [t.value for t in store.open_study(url, "run", resume=True).trials]
        assert values == [1.0, 3.0]


def test_a_broken_journal_is_named(tmp_path):
    (tmp_path / "study.journal").write_text("no journal\nat all\n")
    with pytest.raises(InputError, match=rf"journal:{tmp_path}/study.journal cannot be used"):
        store.open_study(storage_url(tmp_path, "journal"), "run", resume=True)
    with pytest.raises(InputError, match=r"journal:/no/folder/j cannot be used: .*No such file"):
        store.open_study("journal:/no/folder/j", "run", resume=False)


@pytest.mark.usefixtures("ray_cluster")
def test_a_search_with_a_journal_can_be_resumed_and_reported(folder):
    arguments = [*ARGUMENTS, "storage=journal"]
    assert search.main(arguments, trial=two_epochs()) == 0
    assert states(folder) == ["finished"] * 2
    made = folder / "runs" / "first"
    assert (made / "study.journal").is_file()
    assert not (made / "study.db").exists()
    more = ["space=tiny.yaml", "name=first", "resume=true", "budget.trials=3"]
    assert search.main(more, trial=two_epochs()) == 0
    (made / "leaderboard.csv").unlink()
    assert report.main(report.ReportSettings(run=made)) == 0
    assert states(folder) == ["finished"] * 3


@dataclass(frozen=True)
class Server:
    """A PostgreSQL on loopback that wants `PASSWORD` of its user `searcher`."""

    port: int

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://searcher@127.0.0.1:{self.port}/postgres"

    @property
    def url_with_password(self) -> str:
        return self.url.replace("searcher@", f"searcher:{IN_URL}@")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """A server of its own, in a folder of its own, as the user who may run one."""
    pytest.importorskip("psycopg", reason="psycopg is missing: pip install -e '.[postgres]'")
    found = [shutil.which("initdb"), *Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    programs = [Path(path).parent for path in found if path]
    if not programs:
        pytest.skip("PostgreSQL is missing: apt-get install postgresql")
    user = [] if os.getuid() else ["setpriv", "--reuid=postgres", "--regid=postgres"]
    user += ["--init-groups"] if user else []
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if user:
            try:
                account = pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("there is no user postgres, and root may not run a server")
            os.chown(folder, account.pw_uid, account.pw_gid)
        with serving(programs[-1], user, folder) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@contextmanager
def serving(programs: Path, user: list[str], folder: Path) -> Iterator[Server]:
    (folder / "password").write_text(PASSWORD)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    make = [programs / "initdb", "-D", folder / "db", "-U", "searcher", "--auth=scram-sha-256"]
    make += [f"--pwfile={folder / 'password'}", "--no-sync"]
    subprocess.run([*user, *make], cwd=folder, check=True, capture_output=True)
    control = [*user, programs / "pg_ctl", "-D", folder / "db", "-w", "-t", "120"]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    start = [*control, "-l", folder / "log", "-o", options, "start"]
    subprocess.run(start, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    try:
        yield Server(port)
    finally:
        stop = [*control, "-m", "immediate", "stop"]
        subprocess.run(stop, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def killed_search(url: str) -> None:
    """What the next test starts in a process of its own, and kills in its first trial."""
    search.main([*ARGUMENTS, f"storage={url}"], trial=two_epochs(seconds=100))


@pytest.mark.slow
def test_a_search_on_postgresql_goes_on_after_it_was_killed(
    folder, postgres, ray_cluster, wait_for, monkeypatch, capfd
):
    assert ray_cluster
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); "
        f"runpy.run_path({__file__!r})['killed_search']({postgres.url_with_password!r})"
    )
    address = ray.get_runtime_context().gcs_address
    started = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "RAY_ADDRESS": address}
    )
    try:
        wait_for(
            lambda: list(folder.glob("runs/first/trials/*/checkpoint/best/config.yaml")),
            "a trial's first epoch",
            while_=lambda: started.poll() is None,
        )
    finally:
        started.kill()
        started.wait()

    made = folder / "runs" / "first"
    resume = ["space=tiny.yaml", "name=first", "resume=true"]
    with pytest.raises(InputError, match=r"storage: postgresql\S+ cannot be used: .*PGPASSWORD"):
        search.main(resume, trial=two_epochs())
    with pytest.raises(InputError, match="a resumed run keeps its settings") as refused:
        search.main([*resume, f"storage={postgres.url_with_password}2"], trial=two_epochs())
    assert IN_URL not in str(refused.value)
    assert search.main([*resume, f"storage={postgres.url_with_password}"], trial=two_epochs()) == 0
    assert states(folder) == ["finished"] * 2
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert report.main(report.ReportSettings(run=made)) == 0
    study = store.open_study(postgres.url, "first", resume=True)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2
    assert len({tuple(trial.params.items()) for trial in study.trials}) == 2
    assert run_folder.stored_search(made).storage == postgres.url
    assert not (made / "study.db").exists()
    written = [path.read_bytes() for path in made.rglob("*") if path.is_file()]
    printed = "".join(capfd.readouterr())
    for secret in (PASSWORD, IN_URL):
        assert secret not in printed
        assert not any(secret.encode() in text for text in written)


def test_a_wrong_password_is_not_repeated(postgres):
    url = postgres.url.replace("searcher@", "searcher:guess1234@")
    with pytest.raises(InputError, match="password authentication failed") as refused:
        store.open_study(url, "run", resume=False)
    assert "guess1234" not in str(refused.value)


def test_a_driver_that_is_not_installed_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot be used: No module named 'pg8000'.*postgres"):
        store.open_study("postgresql+pg8000://me:word@127.0.0.1/db", "run", resume=False)
    assert open_storage(storage_url(tmp_path, None)).get_all_studies() == []


def test_a_space_cannot_fix_a_dataset_in_a_bucket(folder):
    (folder / "tiny.yaml").write_text(f"fixed: {{data.root: 's3://bucket/k'}}\n{SPACE}")
    with pytest.raises(InputError, match=r"give data\.root=s3://BUCKET/KEY on the command line"):
        search.main(["space=tiny.yaml"])
