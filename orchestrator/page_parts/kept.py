"""The curve over the number of training pages, as `pages.json` of a run keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detector.core.errors import JobError
from orchestrator.page_parts.curve import Prediction, predict
from orchestrator.page_parts.scores import Scored
from orchestrator.propose.kept import broken, read_kept

FILE = "pages.json"  # in the folder of a run


@dataclass(frozen=True)
class Point:
    """What a training on so many pages scored; `hmean` is cross-fitted."""

    pages: int
    epochs: int
    hmean: float
    iou_hmean: float


@dataclass(frozen=True)
class PageCurve:
    """The scores of a trial's settings by number of pages, smallest first, and of twice as many."""

    trial: str
    validation_pages: int
    points: Sequence[Point]
    twice: Prediction

    @classmethod
    def of(
        cls, trial: str, sizes: Sequence[tuple[int, int]], scores: Sequence[Scored]
    ) -> PageCurve:
        """The curve through the scores of trainings on (pages, epochs), the last on all pages.

        Scored pages that one of them found nothing to score on, since it is blank, count for none.
        Raises JobError where none is left.
        """
        names = [n for n in scores[0].page_hmeans if all(n in s.page_hmeans for s in scores)]
        if not names:
            raise JobError("no validation page has a score after every training; add pages to it")
        hmeans = np.array([[s.page_hmeans[name] for name in names] for s in scores])
        points = [
            Point(pages, epochs, float(mean), score.iou_hmean)
            for (pages, epochs), mean, score in zip(sizes, hmeans.mean(axis=1), scores, strict=True)
        ]
        counts = [pages for pages, _ in sizes]
        return cls(trial, len(names), points, predict(counts, hmeans, at=2 * counts[-1]))

    @property
    def sentence(self) -> str:
        """What it says of more pages."""
        now, then = self.points[-1], self.twice
        text = (
            f"Twice the training pages, {then.pages}, are expected to bring {then.gain:+.4f} "
            f"H-mean ({then.gain_low:.4f} to {then.gain_high:.4f}): {then.hmean:.4f} in place of "
            f"{now.hmean:.4f}"
        )
        none = then.gain_low < 5e-5
        return f"{text}, if it is anything but luck." if none else f"{text}."

    def as_json(self) -> dict[str, Any]:
        """Its figures and its sentence."""
        return asdict(self) | {"sentence": self.sentence}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PageCurve:
        """The inverse of `as_json`. Raises KeyError or TypeError for anything else."""
        return cls(
            values["trial"],
            values["validation_pages"],
            [Point(**point) for point in values["points"]],
            Prediction(**values["twice"]),
        )


def read_curve(run: Path) -> PageCurve | None:
    """The curve that is kept in a run's folder; None before there is one."""
    kept = read_kept(run / FILE)
    if kept.get("curve") is None:
        return None
    try:
        return PageCurve.from_dict(kept["curve"])
    except (KeyError, TypeError) as error:
        raise broken(run / FILE, f"its curve lacks or has too much ({error})") from None
