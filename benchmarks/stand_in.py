"""Which recorded training stands for a point that a search proposes.

In a table of drawn points no proposal is one of them. The nearest one that the search has not had
yet takes its place. Mind what that leaves out. A sampler is told of its own point what was scored
at another, farther away the fewer are left, so it learns less than it would, and its late proposals
are hardly its own: of choices whose trainings it has all had it gets others, and is told so by
their scores. A search that draws at random loses nothing by it. So what a sampler gains is
underestimated, and nothing is found that is better than what the table has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

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
