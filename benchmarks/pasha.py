"""When PASHA lets trainings go further: Bohdal et al., "PASHA: Efficient HPO and NAS with
progressive resource allocation", ICLR 2023 (arXiv 2207.06940), written from the paper.

Trials are promoted as in asynchronous successive halving, but only up to a rung that lies low at
first. It is raised by one when the trials there are in another order than one rung below, so that
nothing is trained to the end while the order has settled. Scores that noise alone could have
swapped count as equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

PERCENTILE = 90  # of the differences that noise made, as in the paper
Curve = Mapping[int, float]  # scores by epoch, larger is better


def is_stable(curves: Sequence[Curve], below: int, top: int, noise: float) -> bool:
    """Whether trials are in the same order after `top` epochs as after `below`, but for noise.

    curves: of the trials that were trained for `top` epochs or more. At each place of the order at
    the top must be a trial whose score below is within `noise` of that of the one at this place
    below.
    """
    before, after = (sorted(curves, key=lambda curve: -curve[epoch]) for epoch in (below, top))
    return all(
        abs(one[below] - other[below]) <= noise for one, other in zip(before, after, strict=True)
    )


def noise_of(curves: Sequence[Curve]) -> float:
    """How much two trials may differ by noise: 0 until two have passed each other and back.

    It is the `PERCENTILE` of the differences of such pairs in the last epoch that both have.
    """
    found = []
    for one, other in itertools.combinations(curves, 2):
        ahead = [one[epoch] - other[epoch] for epoch in sorted(one.keys() & other.keys())]
        signs = [key for key, _ in itertools.groupby(np.sign([d for d in ahead if d]))]
        if len(signs) >= 3 and ahead[-1]:
            found.append(abs(ahead[-1]))
    return float(np.percentile(found, PERCENTILE)) if found else 0.0
