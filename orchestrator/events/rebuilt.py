"""The trials of a search from its events alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.trials.records import TrialRecord, TrialState, at_rest


def records_of(events: Iterable[Mapping[str, Any]]) -> list[TrialRecord]:
    """What is known of every trial after these events, in order of number."""
    known: dict[str, TrialRecord] = {}
    for event in events:
        kind = event["kind"]
        if event.get("record") is not None:
            known[event["trial"]] = _recorded(known.get(event["trial"]), event)
        elif kind in ("search_ended", "search_resumed"):
            known = {record.trial: record for record in at_rest([*known.values()])}
        elif event.get("seed") is not None:
            continue
        elif kind == "proposed":
            name = event["trial"]
            known[name] = TrialRecord(name, TrialState.PENDING, dict(event["params"]))
        elif kind == "trial_started" and event["trial"] in known:
            at_work = replace(known[event["trial"]], state=TrialState.RUNNING)
            known[event["trial"]] = at_work
        elif kind == "epoch" and event["trial"] in known:
            figures = {"hmean": event["best_hmean"], "epochs": event["epoch"]}
            figures["seconds"] = event["seconds"]
            known[event["trial"]] = replace(known[event["trial"]], **figures)
    return sorted(known.values(), key=lambda record: record.trial)


def _recorded(before: TrialRecord | None, event: Mapping[str, Any]) -> TrialRecord:
    """The record of an event; page scores stay as they were where it has none."""
    record = TrialRecord.from_dict(event["record"])
    pages = event.get("page_hmeans")
    if pages is not None:
        scores = tuple(math.nan if score is None else score for score in pages)
        return replace(record, page_hmeans=scores)
    return replace(record, page_hmeans=before.page_hmeans if before else None)
