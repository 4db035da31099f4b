"""The file of events: whole lines whatever happens to its writer, and trials rebuilt from them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from orchestrator.events.file import NAME, EventFile, read_events
from orchestrator.events.kinds import ANY, KINDS, Epoch, Note, Proposed, TrialStarted, decision
from orchestrator.events.rebuilt import records_of
from orchestrator.trials.records import TrialRecord, TrialState

PAUSED = TrialRecord(
    "00003", TrialState.PAUSED, {"a.b": 1.5}, hmean=0.5, epochs=2, page_hmeans=(0.25, math.nan)
)


def nobody(text: str) -> None:
    raise AssertionError(text)


def test_each_event_is_a_line_that_is_there_at_once(tmp_path):
    file = EventFile(tmp_path, nobody)
    early = Note(text="영수증 \udc80", time="2000-01-01T00:00:00.000+00:00")
    file.append(early)
    (line,) = (tmp_path / NAME).read_bytes().splitlines()
    values = json.loads(line)
    assert list(values) == ["time", "version", "kind", "text"]
    assert (values["version"], values["kind"], values["text"]) == (1, "note", "영수증 \udc80")
    assert values["time"] > "2025"  # when it was written
    file.append(Note(text="two\nlines"))
    assert [event["text"] for event in read_events(tmp_path)] == [early.text, "two\nlines"]


def test_a_line_that_was_cut_off_costs_no_other_one(tmp_path):
    EventFile(tmp_path, nobody).append(Note(text="first"))
    with (tmp_path / NAME).open("ab") as file:
        file.write('{"time": "2026-01-01", "kind": "영'.encode()[:-1])
    assert [event["text"] for event in read_events(tmp_path)] == ["first"]
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'\n[1]\n{"kind": "note"}\n{"kind": "of a later version"}\n' + b"[" * 10**5)
    again = EventFile(tmp_path, nobody)
    again.append(Note(text="second"))
    again.append(Note(text="third"))
    assert [event["text"] for event in read_events(tmp_path)] == ["first", "second", "third"]
    assert (tmp_path / NAME).read_bytes().count(b"\n") == 8


@pytest.mark.parametrize("full", [True, False])
def test_a_file_that_cannot_be_written_is_said_once(tmp_path, full):
    said: list[str] = []
    path = tmp_path / NAME
    if full:
        path.symlink_to("/dev/full")
    else:
        path.mkdir()
    file = EventFile(tmp_path, said.append)
    file.append(Note(text="first"))
    file.append(Note(text="second"))
    reason = "No space left on device" if full else "Is a directory"
    assert said == [f"{path}: {reason}; events are missing there from now on"]
    path.unlink() if full else path.rmdir()
    file.append(Note(text="third"))
    assert [event["text"] for event in read_events(tmp_path)] == ["third"]
    assert len(said) == 1


def test_there_may_be_no_file(tmp_path):
    assert list(read_events(tmp_path)) == []


def test_trials_are_rebuilt_from_what_was_told_of_them():
    epoch = Epoch(trial="00003", epoch=3, epochs=9, hmean=0.4, best_hmean=0.6, seconds=9.0)
    other = epoch.model_copy(update={"seed": 7, "best_hmean": 0.9, "epoch": 9})
    told = [
        Proposed(trial="00003", params={"a.b": 1.5}, why="warm_start"),
        decision(PAUSED, "paused", "rank 1 of 2 at rung 1", rung=1, rank=1, of=2),
        TrialStarted(trial="00003", epoch=2, until=None),
        epoch,
        other,
    ]
    lines = [ANY.dump_python(event, mode="json") for event in told]
    assert [ANY.validate_python(line) for line in lines] == told
    (waiting,) = records_of(lines[:1])
    assert waiting == TrialRecord("00003", TrialState.PENDING, {"a.b": 1.5})
    (paused,) = records_of(lines[:2])
    assert replace(paused, page_hmeans=None) == replace(PAUSED, page_hmeans=None)
    assert paused.page_bytes == PAUSED.page_bytes
    (running,) = records_of(lines)
    assert (running.state, running.hmean, running.epochs) == (TrialState.RUNNING, 0.6, 3)
    (left,) = records_of([*lines, {"kind": "search_resumed"}])
    assert left == replace(running, state=TrialState.PENDING)


def test_kinds_are_told_apart_and_a_record_must_be_one():
    kinds = [kind for each in KINDS for kind in _names(each)]
    assert len(set(kinds)) == len(kinds) == 12
    line = ANY.dump_python(decision(PAUSED, "paused"), mode="json")
    with pytest.raises(ValueError, match="state"):
        ANY.validate_python(line | {"record": line["record"] | {"state": "asleep"}})
    with pytest.raises(ValueError, match="rang"):
        ANY.validate_python(line | {"rang": 1})


def _names(kind) -> tuple[str, ...]:
    return kind.model_fields["kind"].annotation.__args__
