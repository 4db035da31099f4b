"""The trackers that a search can tell of its trials, and whether they are there."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator


def _each_once(value: Any) -> Any:
    """One name as a list; ValueError for a name that is there twice."""
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list | tuple) and len(set(map(str, names))) < len(names):
        raise ValueError("must name each tracker once")
    return names


TrackerNames = Annotated[tuple[Literal["mlflow", "wandb"], ...], BeforeValidator(_each_once)]


def not_installed(trackers: Sequence[str]) -> list[str]:
    """A message for each of these that is missing; both are optional."""
    return [
        f"track: {name} is not installed; run pip install -e '.[{name}]', or leave it out"
        for name in trackers
        if find_spec(name) is None
    ]
