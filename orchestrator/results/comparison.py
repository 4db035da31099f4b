"""Whether one trial is better than another, or only luckier on these validation pages.

Trials of a run are scored on the same pages, but for those that one of them could not read, and
hard pages are hard for all of them. So the differences page by page say more than two intervals
side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.trials.records import TrialRecord

EXACT_PAGES = 12  # so many pages that differ have 4096 sign patterns: all are tried
FLIPS = 10_000  # random sign patterns where there are more
_GROUP = 8  # pages whose signs are one random byte
_ROUNDING = 1e-9  # of the sum of all differences: sums nearer than that are equal
_PAIRS_KEPT = 1 << 13


class Standing(NamedTuple):
    """How a trial compares on its pages; None where there is nothing to compare.

    p_best: p-value against the best trial, Holm's correction applied; 1 for the best itself.
    p_next: p-value against the next trial of the ranking, for this one pair alone.
    tied: whether it cannot be told from the best trial; true for the best itself.
    """

    p_best: float | None = None
    p_next: float | None = None
    tied: bool | None = None


def ties(finished: Sequence[TrialRecord], level: float = 0.05) -> list[Standing]:
    """The standing of each finished trial, in the order given: that of the ranking.

    A trial is tied when its p-value against the best one is `level` or more. Among many
    trials some would differ from the best by chance, so these p-values are corrected together
    (see `holm`). That takes the best one as given, although it was chosen by the same scores:
    among many equal trials, more differ from it than `level` says. A trial that has fewer than
    two pages in common with the best one has None and does not count for the correction.
    """
    pages = [record.page_bytes for record in finished]
    against_best = [paired_p(pages[0], own) for own in pages]
    corrected = [*against_best[:1], *holm(against_best[1:])]
    against_next = [paired_p(one, other) for one, other in pairwise([*pages, None])]
    return [
        Standing(p_best, p_next, None if p_best is None else p_best >= level)
        for p_best, p_next in zip(corrected, against_next, strict=True)
    ]


@lru_cache(maxsize=_PAIRS_KEPT)
def paired_p(one: bytes | None, other: bytes | None) -> float | None:
    """The two-sided p-value of a paired permutation test of the mean page score.

    `one` and `other` are packed H-means along one list of pages, NaN for a page that a trial has no
    score of, and as long as the last page that it knew of. Pages that both have are compared. If
    the trials were equally good, each page's difference could as well have the other sign; p is
    the share of sign patterns with a mean difference at least as far from 0 as the one found.
    Identical scores have 1. None below two pages in common.

    Fisher, "The Design of Experiments" (1935), section 21; Pitman, "Significance tests which
    may be applied to samples from any populations" (1937). Up to EXACT_PAGES pages that differ
    all patterns are tried, beyond that FLIPS random ones of a fixed seed; see `_sampled_p`.
    scipy.stats.permutation_test takes 40 to 500 times as long: for 1,000 trials of 69 pages, half
    a minute whenever there is a new best one.
    """
    if one is None or other is None:
        return None
    known = min(len(one), len(other))
    differences = np.frombuffer(one[:known]) - np.frombuffer(other[:known])
    differences = differences[np.isfinite(differences)]
    if len(differences) < 2:
        return None
    differences = differences[differences != 0]
    return _exact_p(differences) if len(differences) <= EXACT_PAGES else _sampled_p(differences)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for their number; None stays None and does not count.

    With m of them, the i-th smallest is multiplied by m - i + 1 and is never below a smaller
    one's result. When all below a level are called different, even one of them is wrong with
    at most that probability. Holm, "A simple sequentially rejective multiple test procedure"
    (1979).
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for position, (p, index) in enumerate(known):
        largest = max(largest, p * (len(known) - position))
        corrected[index] = min(largest, 1.0)
    return corrected


def _exact_p(differences: NDArray[np.float64]) -> float:
    """Over all sign patterns of `(N,)` differences; 1 for N = 0."""
    sums = _sign_patterns(len(differences)) @ differences
    return _reaching(sums, differences) / len(sums)


def _sampled_p(differences: NDArray[np.float64]) -> float:
    """Over FLIPS random sign patterns of `(N,)` differences, or an upper limit of p.

    The pattern found counts as one more draw, so p is never 0 and never too small on average:
    Noreen, "Computer-Intensive Methods for Testing Hypotheses" (1989). That stops at
    1 / (FLIPS + 1), and Holm's correction for a thousand trials asks for less. Where
    Hoeffding's bound is below that, it is the result: p is no larger, and needs no draws.
    Hoeffding, "Probability inequalities for sums of bounded random variables" (1963).
    """
    scaled = differences / np.abs(differences).max()  # squares of tiny ones would be 0
    bound = 2 * math.exp(-(scaled.sum() ** 2) / (2 * scaled @ scaled))
    if bound < 1 / (FLIPS + 1):
        return bound
    padded = np.pad(scaled, (0, -len(scaled) % _GROUP)).reshape(-1, _GROUP)
    of_groups = padded @ _sign_patterns(_GROUP).T
    sums = np.zeros(FLIPS)
    for of_group, drawn in zip(of_groups, _drawn(len(padded)), strict=True):
        sums += of_group[drawn]
    return (_reaching(sums, scaled) + 1) / (FLIPS + 1)


def _reaching(sums: NDArray[np.float64], differences: NDArray[np.float64]) -> int:
    """How many sums are at least as far from 0 as that of the differences."""
    slack = _ROUNDING * np.abs(differences).sum()
    return int(np.count_nonzero(np.abs(sums) >= abs(differences.sum()) - slack))


@lru_cache(maxsize=EXACT_PAGES + 1)
def _sign_patterns(count: int) -> NDArray[np.float64]:
    """All patterns of `count` signs, `(2 ** count, count)` of -1 and 1."""
    bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
    return (1 - 2 * bits).astype(np.float64)


@lru_cache(maxsize=2)
def _drawn(groups: int) -> NDArray[np.uint8]:
    """Random patterns, `(groups, FLIPS)` rows of `_sign_patterns(_GROUP)`; always the same."""
    return np.random.default_rng(0).integers(0, 2**_GROUP, (groups, FLIPS), dtype=np.uint8)
