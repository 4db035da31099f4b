"""What one start of a search adds to its run."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from orchestrator.config.limits import Watch
from orchestrator.events.kinds import Tell, untold
from orchestrator.execute.trial import TrialFunction
from orchestrator.place.resources import TrialResources
from orchestrator.run.bucket_run import BucketRun, bucket_run
from orchestrator.run.run import Run
from orchestrator.trials.job import Listener


@dataclass(frozen=True)
class Session:
    """A run at work. Its folder must be the same shared one on all machines, unless it is `kept`.

    trial: does the work of a job. resources: what each job reserves. watch: ends the search at a
    limit. interruption: raises KeyboardInterrupt at a step when the user has asked to stop. write:
    keeps an event of the run.
    """

    run: Run
    trial: TrialFunction
    resources: TrialResources
    watch: Watch
    interruption: Listener = field(default_factory=Listener)
    write: Tell = untold

    @cached_property
    def kept(self) -> BucketRun | None:
        """The run in its bucket; None where it is kept in its folder alone."""
        return bucket_run(self.run.config, self.run.folder)
