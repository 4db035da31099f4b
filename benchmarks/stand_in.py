"""Which recorded training stands for a point that a search proposes.

In a table of drawn points no proposal is one of them. So the nearest one that the search has not
had yet is tried in its place, and the search is told so: its trial has the settings of that
training, whatever draws its points. The fewer are left, the farther away they are. A search that
draws at random loses nothing by it, so what a sampler gains is underestimated, and nothing is
found that is better than what the table has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import optuna

Finder = Callable[[Mapping[str, Any], Callable[[int], bool]], int]


def row_finder(configs: Sequence[Mapping[str, Any]], drawn: Collection[str]) -> Finder:
    """A function that gives the row which stands for a point.

    It takes the point and `take`, which says of a row whether it is free, and takes it then. Rows
    with the same choices come first, then those with one other choice, and so on. By the settings
    that were `drawn` from ranges the distance is that of the logarithms, as a setting counts by
    its ratio; so a rate, with the widest range, counts most. When all rows are taken it is the
    nearest again. Where nothing was drawn it is the row of the very point, taken or not.
    """

    def row_of(point: Mapping[str, Any], take: Callable[[int], bool]) -> int:
        found = []
        for row, config in enumerate(configs):
            others = sum(config[key] != point[key] for key in config if key not in drawn)
            ratios = [math.log2(config[key] / point[key]) for key in drawn]
            found.append((others, math.hypot(*ratios), row))
        rows = [row for _, _, row in sorted(found)]
        return next((row for row in rows if drawn and take(row)), rows[0])

    return row_of


def rows_of(configs: Sequence[Mapping[str, Any]]) -> Callable[[Mapping[str, Any]], int]:
    """A function that gives the row with the very settings of a point, whatever else it has."""
    keys = tuple(configs[0])
    rows = {tuple(config[key] for key in keys): row for row, config in enumerate(configs)}

    def row_of(point: Mapping[str, Any]) -> int:
        return rows[tuple(point[key] for key in keys)]

    return row_of


class StandIns:
    """The trainings that a search has in the place of its points, one after the other.

    configs: the points of the table. row_of: see `row_finder`.
    """

    def __init__(self, configs: Sequence[Mapping[str, Any]], row_of: Finder) -> None:
        self._configs, self._row_of = configs, row_of
        self._taken: set[int] = set()

    def row(self, point: Mapping[str, Any]) -> int:
        """The row of the next one."""
        return self._row_of(point, self._take)

    def of(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The point with the settings of the next training in place of its own."""
        return {**point, **self._configs[self.row(point)]}

    def _take(self, row: int) -> bool:
        is_free = row not in self._taken
        self._taken.add(row)
        return is_free

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher for a restore that is not used."""
        return {}


def tell(study: optuna.Study, trial_id: int, point: Mapping[str, Any]) -> None:
    """Have a trial that runs be at another point than the sampler has drawn."""
    storage = study._storage
    for name, distribution in storage.get_trial(trial_id).distributions.items():
        value = distribution.to_internal_repr(point[name])
        storage.set_trial_param(trial_id, name, value, distribution)
