"""What Ray is asked for, that a job gets its cores, its GPU and its kind of machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray import tune

from orchestrator.fleet.fleet import Fleet
from orchestrator.place.gpu_kinds import selector
from orchestrator.place.resources import TrialResources
from orchestrator.trials.job import TrialJob


@dataclass(frozen=True)
class Requests:
    """The requests of one search's jobs."""

    resources: TrialResources
    fleet: Fleet

    def of(self, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """The request for a job, as Tune's config has it."""
        job: TrialJob = config["job"]
        own = self.resources.alone if job.alone else self.resources
        gpus = own.gpus if job.where.gpus is None else job.where.gpus
        bundles = [{"CPU": float(own.cpus), "GPU": gpus}]
        labels = selector(*self.fleet.kinds_for(job)) if len(own.kinds) > 1 else {}
        if not labels:
            return tune.PlacementGroupFactory(bundles)
        return tune.PlacementGroupFactory(bundles, bundle_label_selector=[labels])
