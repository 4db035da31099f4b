"""Trainings that are made again after a search and kept in a file of its run, as jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detector.core.errors import InputError
from detector.core.files import write_text
from detector.core.plain import parse_json
from orchestrator.propose.again import AgainJobs, Training
from orchestrator.trials.failure import NOTHING_SHARED, Sharing


def best_of(training: Path) -> Path:
    """Where a training in this folder keeps its best weights."""
    return training / "checkpoint" / "best"


class KeptTrainings:
    """What `file` of a run's folder holds, written again with each training that is over.

    Beside the trainings it has parts of other kinds, of which their owners know. A training whose
    weights are gone by now is not among it. InputError for a file that was changed.
    """

    def __init__(self, run: Path, file: str) -> None:
        self._run, self._path = run.resolve(), run / file
        self._kept = read_kept(self._path)
        there = {k: v for k, v in self._trainings.items() if best_of(self._run / k).is_dir()}
        self._kept["trainings"] = there

    def of(self, folder: Path) -> dict[str, Any] | None:
        """The result of the training in `folder`; None where none is kept."""
        result: dict[str, Any] | None = self._trainings.get(self._name(folder))
        return result

    def keep(self, folder: Path, result: Mapping[str, Any]) -> None:
        """Keep the result of a training."""
        self.write(trainings=self._trainings | {self._name(folder): dict(result)})

    def write(self, **parts: Any) -> None:
        """Keep parts of other kinds, in place of earlier ones."""
        self._kept |= parts
        write_text(self._path, json.dumps(self._kept, indent=2) + "\n")

    @property
    def _trainings(self) -> dict[str, Any]:
        return dict(self._kept.get("trainings", {}))

    def _name(self, folder: Path) -> str:
        return folder.relative_to(self._run).as_posix()


def read_kept(path: Path) -> dict[str, Any]:
    """What a file holds, empty before it is there; InputError for one that was changed."""
    if not path.is_file():
        return {}
    kept = parse_json(path.read_text(encoding="utf-8", errors="replace"), str(path))
    if not isinstance(kept, dict) or not isinstance(kept.get("trainings", {}), dict):
        raise broken(path, "it holds no mapping of trainings")
    return kept


def broken(path: Path, why: str) -> InputError:
    """What to raise for a file that was changed."""
    return InputError(f"{path}: not as it was written, {why}; delete it to make it again")


class KeptJobs(AgainJobs):
    """The trainings that have not succeeded, until all were tried."""

    def __init__(
        self,
        kept: KeptTrainings,
        every: Sequence[Training],
        say: Callable[[str], None] = print,
        sharing: Sharing = NOTHING_SHARED,
    ) -> None:
        super().__init__(every, sharing)
        self._kept, self._say = kept, say
        self.failed: dict[str, str] = {}  # why, by name

    def result(self, training: Training) -> Mapping[str, Any] | None:
        """What is kept of it; of one that has failed now, why."""
        if training.name in self.failed:
            return {"reason": self.failed[training.name]}
        return self._kept.of(training.folder)

    def keep(self, training: Training, result: dict[str, Any]) -> None:
        """Keep what succeeded; what failed is tried again the next time."""
        if result["reason"]:
            self.failed[training.name] = result["reason"]
            self._say(f"{training.name}: failed: {result['reason']}")
        else:
            self._kept.keep(training.folder, result)
            self._say(f"{training.name}: H-mean {result['hmean']:.4f}")

    def tried_again(self, training: Training, reason: str) -> None:
        """Say why."""
        self._say(f"{training.name}: {reason}")
