"""What is known about one trial, as plain data."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from functools import cached_property
from typing import Any

METRIC = "best_hmean"  # the running best: what Tune, ASHA and Optuna compare


class TrialState(str, Enum):
    """Where a trial stands; the values are what files and tables show."""

    PENDING = "pending"  # proposed or cut off, waiting for a worker
    RUNNING = "running"
    PAUSED = "paused"  # trained to a rung; it goes on if it is among the best there
    FINISHED = "finished"  # trained for all its epochs: the only state that gets a rank
    STOPPED = "stopped"  # ended early by the scheduler; its scores are those of fewer epochs
    FAILED = "failed"  # an exception or a score that is not a number; `reason` says which

    def __str__(self) -> str:
        return self.value

    @property
    def is_over(self) -> bool:
        """Whether the trial goes no further."""
        return self in (TrialState.FINISHED, TrialState.STOPPED, TrialState.FAILED)


@dataclass(frozen=True)
class TrialRecord:
    """One trial. Scores lie in [0, 1] and belong to its best epoch; None means not measured.

    hmean, precision, recall: the competition dialect of CLEval, mean over validation pages.
    hmean_pooled: the official dialect. iou_hmean: at IoU 0.5. params_m: millions of weights.
    latency_ms: milliseconds for a validation page, network and post-processing.
    tuned_hmean: the H-mean at the chosen of the post-processing settings scored after validation,
    with these settings in `tuned`; crossfit_hmean: what choosing them is worth on other pages.
    page_hmeans: the H-mean of every validation page in the order of names, for intervals and
    paired tests.
    confirmed: the H-mean of each training of the same settings with another seed, in the order of
    seeds.
    """

    trial: str  # short, unique in the run and sortable, such as "00003"
    state: TrialState
    params: dict[str, Any] = field(default_factory=dict)  # searched settings by dotted name
    hmean: float | None = None
    precision: float | None = None
    recall: float | None = None
    hmean_pooled: float | None = None
    iou_hmean: float | None = None
    tuned_hmean: float | None = None
    crossfit_hmean: float | None = None
    tuned: dict[str, Any] = field(default_factory=dict)  # settings by dotted name
    epochs: int = 0  # finished epochs
    best_epoch: int | None = None
    seconds: float = 0.0
    params_m: float | None = None
    latency_ms: float | None = None
    checkpoint: str | None = None
    page_hmeans: tuple[float, ...] | None = None
    confirmed: tuple[float, ...] = ()
    reason: str | None = None

    @cached_property
    def page_bytes(self) -> bytes | None:
        """`page_hmeans` packed, for caches."""
        return packed(self.page_hmeans)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        # Not `asdict`: it copies every page score on its own.
        values = {name: getattr(self, name) for name in _NAMES}
        return values | {
            "state": self.state.value,
            "params": dict(self.params),
            "tuned": dict(self.tuned),
            "confirmed": list(self.confirmed),
            "page_hmeans": None if self.page_hmeans is None else list(self.page_hmeans),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialRecord:
        """The inverse of `to_dict`; unknown keys (of a later version) are left out.

        Raises KeyError without `trial` or `state`, ValueError for an unknown state.
        """
        known = {name: values[name] for name in _NAMES if name in values}
        known |= {"trial": str(values["trial"]), "state": TrialState(values["state"])}
        known["confirmed"] = tuple(known.get("confirmed", ()))
        if known.get("page_hmeans") is not None:
            known["page_hmeans"] = tuple(known["page_hmeans"])
        return cls(**known)


def at_rest(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The records of a run that no search is working on: what is not over waits for the next."""
    return [
        replace(r, state=TrialState.PENDING) if r.state is TrialState.RUNNING else r
        for r in records
    ]


_NAMES = tuple(f.name for f in fields(TrialRecord))


def finite(value: Any) -> Any:
    """NaN is no JSON and no score: an empty cell."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def packed(scores: Sequence[float] | None) -> bytes | None:
    """Scores as bytes of float64: smaller to keep and faster to compare than a tuple."""
    return None if scores is None else array("d", scores).tobytes()
