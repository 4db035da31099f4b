"""Which pages to label next: those whose words a detector doubts, and no two that are alike.

A region whose median probability is s counts for 4 s (1 - s): nothing where it is surely text or
surely none, 1 in the middle. A page's doubt is the mean over its regions, as a page costs its
labeller a time that grows with its words. Where several detectors or views are averaged, a region
that they do not agree on lies in the middle too, so that their disagreement is in it (the entropy
of the mean in query by committee: McCallum and Nigam, "Employing EM and pool-based active learning
for text classification", 1998; here the Gini impurity, which is about as steep).

Doubtful pages are often photographs of one receipt, of which one is enough. So pages are chosen one
by one, and what a page is worth falls with its likeness to those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.postprocess.maps import PageMap

FAINT = 0.2  # where a region begins: what no setting would make a word is no doubt
LEAST_PX = 6  # of a region; smaller ones are specks
GRID = (12, 16)  # width and height of the picture of a page's layout
# Pages of one kind are alike to 0.6, photographs of one receipt to 0.95 and more, so that a power
# of likeness counts: 0.02 of the worth of the first, two thirds of that of the others.
POWER = 8
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A page that might be labelled.

    doubt: 0 to 1, see the top of this file. layout: `(192,)` where its text lies, of length 1, or
    0 without any.
    """

    name: str
    doubt: float
    regions: int
    layout: Floats


@dataclass(frozen=True)
class Choice:
    """A page to label; likeness to the most similar one chosen before it, 0 to 1."""

    name: str
    doubt: float
    likeness: float
    regions: int


def candidate_of(page_map: PageMap) -> Candidate:
    """A page by its probability map; one without any text has no doubt."""
    medians = medians_of(page_map.probability)
    doubt = float(np.mean(4 * medians * (1 - medians))) if len(medians) else 0.0
    return Candidate(page_map.name, doubt, len(medians), layout_of(page_map.probability))


def medians_of(probability: NDArray[np.float32]) -> Floats:
    """`(N,)` median probability of each region above `FAINT` of a `(H, W)` map."""
    above = (probability > FAINT).view(np.uint8)
    count, labels = cv2.connectedComponents(above, connectivity=8)
    order = np.argsort(labels, axis=None, kind="stable")
    values = probability.ravel()[order].astype(np.float64)
    ends = np.searchsorted(labels.ravel()[order], np.arange(1, count + 1))
    regions = (values[a:b] for a, b in pairwise(ends) if b - a >= LEAST_PX)
    return np.array([np.median(region) for region in regions])


def layout_of(probability: NDArray[np.float32]) -> Floats:
    """Where the text of a page lies: its map as a picture of `GRID`, as a vector of length 1."""
    small = cv2.resize(probability, GRID, interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
    length = float(np.linalg.norm(small))
    return small / length if length > 0 else small


def choose(candidates: Sequence[Candidate], count: int) -> list[Choice]:
    """At most `count` pages, the best first; of equal ones that which comes first.

    What a page is worth is its doubt times what is new in it, 1 less a power of its likeness.
    """
    if not candidates:
        return []
    layouts = np.stack([c.layout for c in candidates])
    doubts = np.array([c.doubt for c in candidates])
    likeness, left = np.zeros(len(candidates)), np.ones(len(candidates), bool)
    chosen = []
    for _ in range(min(count, len(candidates))):
        worth = np.where(left, doubts * (1 - likeness**POWER), -1.0)
        best = int(worth.argmax())
        page = candidates[best]
        chosen.append(Choice(page.name, page.doubt, float(likeness[best]), page.regions))
        left[best] = False
        likeness = np.clip(np.maximum(likeness, layouts @ layouts[best]), 0.0, 1.0)
    return chosen
