"""What has been changed in a space file since a run began, which a resumed run does not follow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from detector.core.errors import InputError
from orchestrator.config.settings import SearchConfig
from orchestrator.space.nested import as_searched
from orchestrator.space.search_space import SearchSpace
from orchestrator.space.starts import load_available

_OF_THE_BUDGET = ("epochs", "grace_epochs", "reduction_factor")


def edits(stored: SearchSpace, config: SearchConfig, overrides: Mapping[str, Any]) -> list[str]:
    """A line for each difference between a run's own space and what its space file says now.

    `config` and `overrides` are what the run was started with. Where the file has other choices
    for machines without a GPU, those that fit the run better count.
    """
    found = []
    for gpu in (True, False):
        try:
            now = _from_file(config, overrides, gpu=gpu)
        except InputError as error:
            return [f"it cannot be read any more: {str(error).splitlines()[0]}"]
        found.append(_differences(stored, now, not_of_the_file={*overrides, "data.root"}))
        if not found[-1]:
            return []
    return min(found, key=len)


def _from_file(config: SearchConfig, overrides: Mapping[str, Any], *, gpu: bool) -> SearchSpace:
    narrow = config.search.narrow
    space = load_available(
        config.space, gpu=gpu, overrides=overrides, budget=config.budget, narrow=narrow
    )
    return as_searched(space, config.search.postprocess)


def _differences(
    stored: SearchSpace, now: SearchSpace, *, not_of_the_file: Collection[str]
) -> list[str]:
    was = {key: parameter.describe() for key, parameter in stored.parameters.items()}
    searched = {key: parameter.describe() for key, parameter in now.parameters.items()}
    lines = [
        f"{key}: {was.get(key, 'not searched')} in the run, "
        f"{searched.get(key, 'not searched')} in the file"
        for key in {**was, **searched}
        if was.get(key) != searched.get(key)
    ]
    lines += [
        f"{key}: {stored.fixed.get(key)!r} in the run, {value!r} in the file"
        for key, value in now.fixed.items()
        if key not in {*was, *searched, *not_of_the_file} and stored.fixed.get(key) != value
    ]
    lines += [
        f"budget.{key}: {getattr(stored.budget, key)} in the run, {value} in the file"
        for key in _OF_THE_BUDGET
        if (value := getattr(now.budget, key)) != getattr(stored.budget, key)
    ]
    return lines
