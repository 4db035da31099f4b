"""What a failing database or disk says; the real ones are in tests/faults."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError

from detector.core.errors import InputError, JobError
from orchestrator.config.settings import SearchConfig
from orchestrator.run.endings import advice, again, explained

COMMAND = "python -m orchestrator.search name=x resume=true"


def full_disk() -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "/runs/x/leaderboard.csv")


def broken_database() -> None:
    raise StorageInternalError("during the commit") from ValueError("database is locked\nmore")


@pytest.mark.parametrize(
    ("failing", "said"),
    [
        (full_disk, "/runs/x/leaderboard.csv: No space left on device; check the disk and what"),
        (broken_database, "x: the study's database cannot be used (database is locked); check it"),
    ],
)
def test_one_message_says_what_failed_and_how_to_go_on(failing, said):
    with pytest.raises(JobError) as caught, explained(Path("x"), COMMAND):
        failing()
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith(f"then continue with:\n  {COMMAND}")


@pytest.mark.parametrize(
    "error",
    [InputError("a key"), OSError("no number"), KeyboardInterrupt()],
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, explained(Path("x"), COMMAND):
        raise error
    assert caught.value is error


def test_the_advice_is_the_command():
    assert advice(COMMAND).endswith(f"Continue with:\n  {COMMAND}")


@pytest.mark.parametrize(
    ("address", "settings", "expected"),
    [
        ("", {}, "python -m orchestrator.search space=s name=영수증 resume=true"),
        ("local", {}, "python -m orchestrator.search space=s name=영수증 resume=true"),
        (
            "10.0.0.1:6379",
            {"runs_dir": "my runs"},
            "RAY_ADDRESS=10.0.0.1:6379 python -m orchestrator.search space=s name=영수증 "
            "'runs_dir=my runs' resume=true",
        ),
        (
            "",
            {
                "storage": "postgresql://me:secret@host/db",
                "bucket": "s3://b/k?region=x&scheme=http",
            },
            "python -m orchestrator.search space=s name=영수증 "
            "'bucket=s3://b/k?region=x&scheme=http' storage=postgresql://me@host/db resume=true",
        ),
    ],
)
def test_the_command_that_goes_on_starts_the_same_again(monkeypatch, address, settings, expected):
    monkeypatch.setenv("RAY_ADDRESS", address)
    said = again(SearchConfig.model_validate({"space": "s"} | settings), Path("runs/영수증"))
    assert said == expected.replace("name=영수증", "'name=영수증'")
