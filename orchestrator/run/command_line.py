"""The command line of a search, split into its own settings and the detector's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from detector.config import cli
from detector.config.sections import describe_faults, field_names, nest
from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from orchestrator.config.keys import unknown_key
from orchestrator.config.settings import SearchConfig
from orchestrator.config.tracker_names import not_installed
from orchestrator.space.files import available_spaces
from orchestrator.store.bucket import is_url


class SearchArguments(SearchConfig, TrainConfig):
    """Every key the search command takes: for `--help` and for close matches only."""


def parse_arguments(arguments: Sequence[str]) -> tuple[SearchConfig, dict[str, Any]]:
    """The search's settings, and the detector's by dotted name as they were typed.

    Values of the second are checked with the space (`load_space`), since they complete it.
    Raises InputError listing every unknown key and every fault in the search's own settings.
    """
    values = _spelt_out(cli.parse_arguments(arguments))
    detector_keys = field_names(TrainConfig)
    chosen = {k: v for k, v in values.items() if k.partition(".")[0] in TrainConfig.model_fields}
    faults = [
        unknown_key(k, field_names(SearchArguments)) for k in chosen if k not in detector_keys
    ]
    try:
        own = nest({k: v for k, v in values.items() if k not in chosen})
        config = SearchConfig.model_validate(own)
    except ValidationError as error:
        faults = [_with_remedy(line) for line in describe_faults(error, SearchArguments)] + faults
    else:
        faults += not_installed(config.track)
        if config.data_from and chosen.get("data.root") is not None:
            faults.append("data.root: the data come from data_from; leave one of them out")
    if faults:
        raise InputError("\n".join(faults))
    return config, chosen


def _spelt_out(values: dict[str, Any]) -> dict[str, Any]:
    """The values with short forms in full: `budget.trials=+20`, `data.root=s3://BUCKET/KEY`, ..."""
    full = dict(values)
    trials = full.get("budget.trials")
    if isinstance(trials, str) and trials.startswith("+"):
        full["budget.more"] = full.pop("budget.trials")[1:]
    if isinstance(full.get("postprocess"), str):
        full["search.postprocess"] = full.pop("postprocess")
    if isinstance(full.get("data.root"), str) and is_url(full["data.root"]):
        full.setdefault("data_from", full.pop("data.root"))
    return full


def _with_remedy(line: str) -> str:
    if line != "space: field required":
        return line
    names = ", ".join(sorted(available_spaces()))
    return f"space: required; give space=NAME ({names}) or the path of a YAML file"
