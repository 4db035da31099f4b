"""The kinds of events of a search, with their fields: the schema of `events.jsonl`.

A field is added without a new version; one that is renamed, or means something else, makes one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from orchestrator.trials.records import TrialRecord, finite


def now() -> str:
    """The time, as events have it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


_RECORD = TypeAdapter(TrialRecord)


def _as_record(values: dict[str, Any]) -> dict[str, Any]:
    _RECORD.validate_python(values)
    return values


Number = Annotated[int, Field(ge=0)]
Trial = Annotated[str, Field(pattern=r"^\d{5,}$", description="its number in five digits")]
Record = Annotated[
    dict[str, Any],
    AfterValidator(_as_record),
    Field(description="the trial as leaderboard.json has it, without page scores"),
]
Seed = Annotated[
    Number | None, Field(description="of a training with a new seed; null = the trial itself")
]


class Event(BaseModel):
    """Something that happened. `time` is set again when it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    time: str = Field(default_factory=now, description="UTC, ISO 8601")
    version: Literal[1] = Field(1, description="of this schema")
    kind: str


Tell = Callable[[Event], None]


def untold(_: Event) -> None:
    """Where nobody listens."""


class SearchStarted(Event):
    """A search begins, or an interrupted one goes on."""

    kind: Literal["search_started", "search_resumed"]
    run: str = Field(description="the run's folder")
    space: str
    trials: Number = Field(description="how many there will be")
    known: Number = Field(description="trials that earlier sessions have proposed")
    epochs: Number = Field(description="of a whole training")
    seed: Number
    parameters: list[str] = Field(description="names of the searched settings")
    go_on: str = Field(description="the command that continues the run")


class SearchEnded(Event):
    """A session of a search is over. One that was killed leaves none."""

    kind: Literal["search_ended"] = "search_ended"
    reason: Literal["complete", "exhausted", "limit", "interrupted", "failed"] = Field(
        description="exhausted: every point of the space was tried"
    )
    text: str | None = Field(None, description="which limit, or what failed")
    best: Trial | None = None
    hmean: float | None = None


class Limit(Event):
    """A limit of the budget is reached: running trials keep their last epoch."""

    kind: Literal["limit"] = "limit"
    reason: str


class Proposed(Event):
    """A new trial, or a training of a leader with a new seed."""

    kind: Literal["proposed"] = "proposed"
    trial: Trial
    params: dict[str, Any] = Field(description="searched settings by dotted name")
    why: Literal["warm_start", "sampler", "random", "confirmation", "earlier"] = Field(
        description="random: the sampler proposed known points only; earlier: by a session that "
        "did not get to write it"
    )
    seed: Seed = None


class TrialStarted(Event):
    """A worker has a trial, for the first time or again."""

    kind: Literal["trial_started"] = "trial_started"
    trial: Trial
    epoch: Number | None = Field(
        description="the last one that is done; 0 = none; null = not known, of a new seed"
    )
    until: Number | None = Field(description="the epoch to pause after; null = the last")
    seed: Seed = None
    alone: bool = Field(False, description="with no other trial beside it")


class Epoch(Event):
    """An epoch of a training is over."""

    kind: Literal["epoch"] = "epoch"
    trial: Trial
    epoch: Number
    epochs: Number = Field(description="of a whole training")
    hmean: float
    best_hmean: float = Field(description="the best so far: what trials are compared by")
    loss: float | None = None
    seconds: float = Field(description="of training and validation so far")
    seed: Seed = None


class Best(Event):
    """Another trial, or another epoch of it, has the best weights so far."""

    kind: Literal["best"] = "best"
    trial: Trial
    epoch: Number
    hmean: float
    before: float | None = Field(description="of the best until now")


class Decision(Event):
    """What becomes of a trial, and why."""

    kind: Literal["decision"] = "decision"
    trial: Trial
    decision: Literal[
        "paused",
        "promoted",
        "finished",
        "stopped",
        "given_up",
        "failed",
        "again",
        "reused",
        "cut_off",
        "weights_deleted",
    ] = Field(
        description="given_up: hopeless; again: it goes on after its last epoch; reused: weights "
        "of a trial with the same training are scored; cut_off: by the end of the search; "
        "weights_deleted: to hold budget.disk_gb"
    )
    reason: str | None = None
    rung: Number | None = Field(None, description="where it was compared, from 1")
    rank: Number | None = Field(None, description="its place there, from 1")
    of: Number | None = Field(None, description="how many have reached that rung")
    seed: Seed = None
    record: Record | None = None
    page_hmeans: list[float | None] | None = Field(
        None, description="the H-mean of each validation page, where the trial waits or is over"
    )


class Confirmation(Event):
    """A training with a new seed is over."""

    kind: Literal["confirmation"] = "confirmation"
    trial: Trial
    seed: Number
    hmean: float | None
    first_hmean: float | None = Field(description="of the trial itself")
    reason: str | None = Field(None, description="why it failed")
    record: Record


class BestWritten(Event):
    """`best/` of the run has other weights."""

    kind: Literal["best_written"] = "best_written"
    trial: Trial
    hmean: float | None
    path: str


class Note(Event):
    """A line for people, such as what is waited for."""

    kind: Literal["note"] = "note"
    text: str


KINDS = (
    *(SearchStarted, Proposed, TrialStarted, Epoch, Best, Decision, Limit),
    *(Confirmation, BestWritten, Note, SearchEnded),
)
ANY: TypeAdapter[Event] = TypeAdapter(
    Annotated[Union[KINDS], Field(discriminator="kind")]  # type: ignore[arg-type]  # noqa: UP007
)


def without_pages(record: TrialRecord) -> dict[str, Any]:
    """A record as an event has it."""
    values = {key: finite(value) for key, value in record.to_dict().items()}
    del values["page_hmeans"]
    return values


def decision(
    record: TrialRecord, decided: Any, reason: str | None = None, **place: Any
) -> Decision:
    """A decision about a trial, which stands as in `record` after it."""
    pages = None
    if record.page_hmeans is not None and decided not in ("promoted", "reused"):
        pages = [finite(score) for score in record.page_hmeans]
    return Decision(
        trial=record.trial,
        decision=decided,
        reason=reason,
        record=without_pages(record),
        page_hmeans=pages,
        **place,
    )


def best_written(record: TrialRecord, path: Path) -> BestWritten:
    """`best/` of a run has the weights of this trial now."""
    return BestWritten(trial=record.trial, hmean=record.hmean, path=str(path))
