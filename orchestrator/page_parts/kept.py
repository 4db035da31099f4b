"""`pages.json` of a run: the trainings on parts of the pages that are over, and their curve."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detector.core.errors import InputError, JobError
from detector.core.files import write_text
from detector.core.plain import parse_json
from orchestrator.page_parts.curve import Prediction, predict
from orchestrator.page_parts.scores import Scored

FILE = "pages.json"  # in the folder of a run


def best_of(training: Path) -> Path:
    """Where a training in this folder keeps its best weights."""
    return training / "checkpoint" / "best"


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
    kept = _read(run / FILE)
    if kept.get("curve") is None:
        return None
    try:
        return PageCurve.from_dict(kept["curve"])
    except (KeyError, TypeError) as error:
        raise _broken(run / FILE, f"its curve lacks or has too much ({error})") from None


class KeptTrainings:
    """What is kept in a run's folder, written again with each training that is over.

    A training whose weights are gone by now is not among it.
    """

    def __init__(self, run: Path) -> None:
        self._run = run.resolve()
        self._kept = _read(run / FILE)
        there = {k: v for k, v in self._trainings.items() if best_of(self._run / k).is_dir()}
        self._kept["trainings"] = there

    def of(self, folder: Path) -> dict[str, Any] | None:
        """The result of the training in `folder`; None where none is kept."""
        result: dict[str, Any] | None = self._trainings.get(self._name(folder))
        return result

    def keep(self, folder: Path, result: Mapping[str, Any]) -> None:
        """Keep the result of a training."""
        self._write(trainings=self._trainings | {self._name(folder): dict(result)})

    def keep_curve(self, curve: PageCurve) -> None:
        """Keep the curve in place of an earlier one."""
        self._write(curve=curve.as_json())

    @property
    def _trainings(self) -> dict[str, Any]:
        return dict(self._kept.get("trainings", {}))

    def _name(self, folder: Path) -> str:
        return folder.relative_to(self._run).as_posix()

    def _write(self, **parts: Any) -> None:
        self._kept |= parts
        write_text(self._run / FILE, json.dumps(self._kept, indent=2) + "\n")


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    kept = parse_json(path.read_text(encoding="utf-8", errors="replace"), str(path))
    if not isinstance(kept, dict) or not isinstance(kept.get("trainings", {}), dict):
        raise _broken(path, "it holds no mapping of trainings")
    return kept


def _broken(path: Path, why: str) -> InputError:
    return InputError(f"{path}: not as it was written, {why}; delete it to make the curve again")
