"""A trial on a machine that shares no folder: it works on its own disk and keeps all in a bucket.

Its folder is copied from the bucket before, to the bucket at each report, before anyone is told
of the epoch, and deleted in the end. So what the study knows of an epoch is in the bucket, whatever
becomes of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detector.training.storage.best import BOX_THRESH
from orchestrator.execute.trial import Report, signs_of_life
from orchestrator.propose.confirmation import SEEDS_FOLDER
from orchestrator.run.bucket_run import BEFORE, STATE, is_result
from orchestrator.store.bucket import Bucket
from orchestrator.store.mirror import Mirror
from orchestrator.store.own_disk import working_folder
from orchestrator.trials.job import TrialJob, Twin

BEST = ("checkpoint/best/", BOX_THRESH)  # what is kept of the best epoch
MAPS = "maps/"  # large, and made anew at each validation: kept once, at the end


@dataclass(frozen=True)
class InBucket:
    """Where the trials of a run work, see `as_trainable`.

    bucket: has what the run folder has. folder: the run's, as the search's own machine calls it.
    """

    bucket: Bucket
    folder: Path

    @contextmanager
    def __call__(self, job: TrialJob, report: Report) -> Iterator[tuple[TrialJob, Report]]:
        """The job in a folder of this machine, and a report that is made when its files are safe.

        BucketError when the bucket does not answer.
        """
        with working_folder() as root:
            mirror, alive = self._mirror(root, job.folder), signs_of_life(report)
            mirror.pull(lambda name: not name.startswith(f"{SEEDS_FOLDER}/"), alive=alive)
            here = replace(job, folder=mirror.folder, twin=self._twin(root, job.twin, alive))

            def kept(values: dict[str, Any]) -> None:
                if values:
                    keep(mirror)
                report(values)

            try:
                yield here, kept
            finally:
                mirror.push(is_result)  # what was logged since, or the error

    def _mirror(self, root: Path, folder: Path) -> Mirror:
        name = folder.relative_to(self.folder)
        return Mirror(root / name, self.bucket.below(name.as_posix()))

    def _twin(self, root: Path, twin: Twin | None, alive: Callable[[], None]) -> Twin | None:
        """With the weights of the trial that was trained alike."""
        if twin is None:
            return None
        mirror = self._mirror(root, twin.source)
        mirror.pull(
            lambda name: name.startswith("checkpoint/best/") or name == "record.json", alive=alive
        )
        return replace(twin, source=mirror.folder)


def keep(mirror: Mirror) -> None:
    """Put a trial's files into the bucket: the state, and then the best weights that it tells of.

    Whoever goes on from the state can write these again (see `detector.training.storage.best`).
    The state before stays as well, by a copy inside the bucket.
    """
    mirror.push(lambda name: is_result(name) and not name.startswith((MAPS, *BEST)))
    if mirror.knows(STATE):
        mirror.bucket.copy(STATE, BEFORE)
    mirror.push(lambda name: name == STATE)
    mirror.push(lambda name: name.startswith(BEST) and not name.endswith(".safetensors"))
    mirror.push(lambda name: name.startswith(BEST))  # the weights last: they say of what epoch
