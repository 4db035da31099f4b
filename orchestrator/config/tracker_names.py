"""The trackers that a search can tell of its trials, and whether they are there."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

Tracker = Literal["mlflow", "wandb"]  # modules of orchestrator/track
PACKAGES = ("mlflow", "wandb")  # those that need a package, an extra of the same name


def _each_once(value: Any) -> Any:
    """One name as a list; ValueError for a name that is there twice."""
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list | tuple) and len(set(map(str, names))) < len(names):
        raise ValueError("must name each tracker once")
    return names


TrackerNames = Annotated[tuple[Tracker, ...], BeforeValidator(_each_once)]


def not_installed(trackers: Sequence[str]) -> list[str]:
    """A message for each of these whose package is missing; all packages are optional."""
    return [
        f"track: {name} is not installed; run pip install -e '.[{name}]', or leave it out"
        for name in trackers
        if name in PACKAGES and find_spec(name) is None
    ]
