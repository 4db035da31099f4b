"""The begin and the end of a session of a search, as events and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from detector.config.answer import answer
from orchestrator.events.file import EventFile, read_events
from orchestrator.events.kinds import Event, Proposed, SearchEnded, SearchStarted, decision
from orchestrator.events.rebuilt import records_of
from orchestrator.results.ranking import best
from orchestrator.run.run import Run
from orchestrator.trials.records import TrialRecord, TrialState, at_rest

DECIDED = {
    TrialState.FINISHED: "finished",
    TrialState.STOPPED: "stopped",
    TrialState.PAUSED: "paused",
    TrialState.FAILED: "failed",
}


@dataclass
class Ending:
    """Why a session is over; None while nothing but the last trial ends it."""

    limit: str | None = None


@contextmanager
def session_told(run: Run, file: EventFile) -> Iterator[Ending]:
    """Write that a session begins, and how the block ended; what it raises passes through.

    What an earlier session was killed before it could write is written first.
    """
    records, known = run.records(), records_of(read_events(run.folder))
    file.append(_begun(run, len(records)))
    for event in missing(records, known):
        file.append(event)
    ending = Ending()
    failed: tuple[str, str | None] | None = None
    try:
        yield ending
    except KeyboardInterrupt:
        failed = "interrupted", None
        raise
    except Exception as error:
        failed = "failed", str(error)
        raise
    finally:
        reason, text = failed or _by_itself(run, ending)
        for record in at_rest(run.records()):
            if record.state is TrialState.PENDING and record.epochs:
                file.append(decision(record, "cut_off", "the search has ended"))
        top = best(run.records())
        scores = {} if top is None else {"best": top.trial, "hmean": top.hmean}
        file.append(SearchEnded.model_validate({"reason": reason, "text": text} | scores))
        answer({"ended": {"reason": reason, "text": text}})


def _begun(run: Run, known: int) -> SearchStarted:
    return SearchStarted(
        kind="search_resumed" if run.config.resume else "search_started",
        run=str(run.folder),
        space=run.space.name,
        trials=run.space.budget.trials,
        known=known,
        epochs=run.space.budget.epochs,
        seed=run.config.seed,
        parameters=run.parameters,
        go_on=run.to_go_on,
    )


def _by_itself(run: Run, ending: Ending) -> tuple[str, str | None]:
    if ending.limit is not None:
        return "limit", ending.limit
    return ("exhausted" if run.left else "complete"), None


def missing(records: Sequence[TrialRecord], known: Sequence[TrialRecord]) -> Iterator[Event]:
    """What is to be told of trials for others to know the `records`, where these are `known`."""
    told: Mapping[str, TrialRecord] = {record.trial: record for record in known}
    for record in records:
        before = told.get(record.trial)
        if before is None:
            yield Proposed(trial=record.trial, params=record.params, why="earlier")
        if record.state in DECIDED and (before is None or _stands(before) != _stands(record)):
            given_up = record.state is TrialState.STOPPED and record.reason is not None
            decided = "given_up" if given_up else DECIDED[record.state]
            yield decision(record, decided, record.reason)


def _stands(record: TrialRecord) -> tuple[object, ...]:
    return record.state, record.epochs, record.hmean, record.confirmed
