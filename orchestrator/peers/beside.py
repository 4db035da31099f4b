"""The best detector of a run beside another one, page by page, as `beside.json` keeps it.

Scores at the settings that each detector has are those that their users get. They are not what the
two can do: one was tuned on these very pages, the other elsewhere. So post-processing is chosen for
both in the same way, by halves of the pages for each other, and these scores are compared on the
same pages, of which a hard one is hard for both. The best of a run was chosen by these pages too,
which flatters it; that is taken off (`orchestrator.results.new_pages`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detector.core.errors import JobError
from detector.core.files import write_text
from detector.core.plain import parse_json
from orchestrator.propose.kept import broken
from orchestrator.results.new_pages import NewPages

FILE = "beside.json"  # in the folder of a run
LEVEL = 0.95
DRAWS = 10_000


@dataclass(frozen=True)
class Figures:
    """What a detector scores: at its own settings, and at those chosen for these pages.

    chosen_hmean: cross-fitted. chosen_iou_hmean: at the settings that all pages choose.
    """

    hmean: float
    iou_hmean: float
    chosen_hmean: float
    chosen_iou_hmean: float


@dataclass(frozen=True)
class Scored:
    """The figures of a detector, and by page the H-means that `chosen_hmean` is the mean of."""

    figures: Figures
    page_hmeans: Mapping[str, float]


@dataclass(frozen=True)
class Beside:
    """A trial of a run beside the detector `other`, on `pages` that both have a score on.

    ahead: how far the trial lies above it, less what being chosen has `flattered` the trial by.
    low, high: so it is in 95 of 100 such sets of pages (a bootstrap over pages).
    """

    trial: str
    other: str
    pages: int
    own: Figures
    others: Figures
    flattered: float
    ahead: float
    low: float
    high: float

    @classmethod
    def of(cls, own: Scored, other: Scored, name: str, expected: NewPages) -> Beside:
        """Of the scores of the trial that `expected` is about, and those of the detector `name`.

        Raises JobError where no page has a score by both.
        """
        names = sorted(own.page_hmeans.keys() & other.page_hmeans.keys())
        if not names:
            raise JobError("no validation page has a score by both detectors; add pages with words")
        both = np.array([[side.page_hmeans[n] for n in names] for side in (own, other)])
        flattered = max(0.0, expected.seen - expected.hmean)
        ahead = both[0] - both[1] - flattered
        means = np.random.default_rng(0).choice(ahead, (DRAWS, len(names))).mean(axis=1)
        low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).tolist()
        return cls(
            trial=expected.trial,
            other=name,
            pages=len(names),
            own=own.figures,
            others=other.figures,
            flattered=flattered,
            ahead=float(ahead.mean()),
            low=low,
            high=high,
        )

    @property
    def sentence(self) -> str:
        """What it says of the two."""
        ahead = abs(self.ahead)
        side = "ahead of" if self.ahead >= 0 else "behind"
        less = ""
        if self.flattered >= 5e-5:
            less = f", less {self.flattered:.4f} by which being the best of the run flatters it"
        text = (
            f"With post-processing chosen for both in the same way, trial {self.trial} is "
            f"{ahead:.4f} {side} {self.other} on {self.pages} validation pages{less} "
            f"({self.low:+.4f} to {self.high:+.4f})"
        )
        return f"{text}{'. These pages cannot tell them apart' if self.is_open else ''}."

    @property
    def is_open(self) -> bool:
        """Whether these pages cannot tell which of the two is better."""
        return self.low <= 0 <= self.high

    def as_json(self) -> dict[str, Any]:
        """Its figures and its sentence."""
        return asdict(self) | {"sentence": self.sentence}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Beside:
        """The inverse of `as_json`. Raises KeyError or TypeError for anything else."""
        own = {key: value for key, value in values.items() if key != "sentence"}
        sides = {key: Figures(**values[key]) for key in ("own", "others")}
        return cls(**own | sides)


def keep(run: Path, found: Beside) -> None:
    """Put what was found into a run's folder, in place of an earlier one with the same detector."""
    kept = {one.other: one for one in read_beside(run)} | {found.other: found}
    values = {"beside": [one.as_json() for one in kept.values()]}
    write_text(run / FILE, json.dumps(values, indent=2) + "\n")


def read_beside(run: Path) -> Sequence[Beside]:
    """What is kept in a run's folder; InputError for a file that was changed."""
    path = run / FILE
    if not path.is_file():
        return []
    kept = parse_json(path.read_text(encoding="utf-8", errors="replace"), str(path))
    try:
        return [Beside.from_dict(one) for one in kept["beside"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise broken(path, f"it lacks or has too much ({error})") from None
