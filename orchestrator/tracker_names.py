"""The trackers that a search can tell of its trials, and whether they are there."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal

TrackerName = Literal["mlflow", "wandb"]


def not_installed(trackers: Sequence[str]) -> list[str]:
    """A message for each of these that is missing; both are optional."""
    return [
        f"track: {name} is not installed; run pip install -e '.[{name}]', or leave it out"
        for name in trackers
        if find_spec(name) is None
    ]
