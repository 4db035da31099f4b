from __future__ import annotations

from pathlib import Path

import pytest

from detector.core.errors import JobError
from orchestrator.machines.exchange import Exchange, InBucket, InFolder
from orchestrator.store.bucket import Bucket


def test_an_answer_in_a_folder_is_heard_and_nothing_stays(tmp_path: Path):
    exchange = InFolder(tmp_path / "runs")
    _exchanged(exchange)
    assert [*(tmp_path / "runs").iterdir()] == []


def test_an_answer_in_a_bucket_is_heard_and_nothing_stays(bucket_url: str):
    exchange = InBucket(Bucket(bucket_url))
    _exchanged(exchange)
    assert Bucket(bucket_url).files() == {}


def _exchanged(exchange: Exchange) -> None:
    with pytest.raises(JobError, match="is not to be seen"):
        exchange.answer("early")
    exchange.ask()
    assert not exchange.heard("one")
    exchange.answer("one")
    assert exchange.heard("one")
    assert not exchange.heard("two")
    exchange.end()


def test_what_reads_otherwise_is_no_answer(tmp_path: Path):
    exchange = InFolder(tmp_path, word="a" * 32)
    exchange.ask()
    stranger = InFolder(tmp_path, word="a" * 8 + "b" * 24)
    with pytest.raises(JobError, match="what the search wrote there reads otherwise"):
        stranger.answer("one")
    stranger_wrote = next(tmp_path.iterdir()) / "one"
    stranger_wrote.write_text("something")
    assert not exchange.heard("one")
