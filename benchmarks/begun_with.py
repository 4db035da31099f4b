"""Points that a replayed search is given to begin with: its warm starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from replay import Table, read_table

Points = Callable[[Table], list[dict[str, Any]]]

EARLIER = Path(__file__).with_name("trainings.npz")
TAKEN = 3  # finished trials of the earlier run


def behind(*shares: float) -> Points:
    """Trainings of the table that such shares of all are better than, by their best epoch."""

    def points(table: Table) -> list[dict[str, Any]]:
        order = _best_first(table)
        return [table.configs[order[int(share * len(order))]] for share in shares]

    return points


NOTHING = behind()


def of_an_earlier_run(table: Table) -> list[dict[str, Any]]:
    """The best trainings of the table of choices, as `warm_start=runs/first` takes trials over.

    Those of their settings, searched or fixed, that this table varies; the others are drawn.
    """
    earlier, keys = read_table(EARLIER), set(table.configs[0])
    best = [earlier.configs[row] for row in _best_first(earlier)[:TAKEN]]
    return [{k: v for k, v in {**earlier.about, **c}.items() if k in keys} for c in best]


def _best_first(table: Table) -> list[int]:
    """Rows by their best cross-fitted score."""
    rows: list[int] = np.argsort(-table.crossfit.max(axis=1), kind="stable").tolist()
    return rows
