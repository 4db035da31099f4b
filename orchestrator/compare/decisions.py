"""Where the trials of a study stand, and what is told of each decision about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace

from detector.config.settings import TrainConfig
from orchestrator.compare.halving import Halving, Place, Progress, equal_cost, places
from orchestrator.compare.trade_offs import others
from orchestrator.config.settings import SearchConfig
from orchestrator.events.kinds import Tell, decision
from orchestrator.place.work import relative_work
from orchestrator.run.as_records import TWIN, trial_id
from orchestrator.run.run import Run
from orchestrator.run.study import Study
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.pareto import Objectives
from orchestrator.trials.records import TrialState


def halving_of(run: Run) -> Halving | None:
    """How trials pause and go on; None where Ray's ASHA stops them instead."""
    asha = run.config.search.scheduler == "asha"
    return None if asha else comparison_of(run.space, run.config)


def comparison_of(space: SearchSpace, config: SearchConfig) -> Halving:
    """Where trials are compared, by Ray's ASHA too, which only stops them for good."""
    search = config.search
    return Halving(
        epochs=space.budget.epochs,
        grace=space.budget.grace_epochs,
        factor=space.budget.reduction_factor,
        every=space.fixed.get("train.eval_every", TrainConfig().train.eval_every),
        cost=relative_work(space) if search.compare == "cost" else equal_cost,
        begins_anew=search.scheduler == "asha",
    )


def progress_of(
    study: Study, halving: Halving | None, objectives: Objectives, busy: Collection[int]
) -> list[Progress]:
    """What each trial has done that counts at the rungs; `busy` are the numbers at work."""
    return [
        Progress(
            trial.number,
            steps=halving.steps(trial.params) if halving else (),
            values=trial.intermediate_values,
            busy=trial.number in busy,
            ended=trial.state.is_finished(),
            others=others(trial, study.record(trial.number), objectives),
        )
        for trial in study.trials
        if TWIN not in trial.user_attrs or not trial.state.is_finished()
    ]


@dataclass(frozen=True)
class Decisions:
    """Tells what becomes of trials, when the study has it.

    halving: how trials are compared, by Ray's ASHA too.
    """

    study: Study
    halving: Halving
    objectives: Objectives
    tell: Tell

    def say(
        self, number: int, what: str, reason: str | None = None, place: Place | None = None
    ) -> None:
        """One decision, with the rank that it was made by."""
        record = self.study.record(number)
        if what == "again":  # as everybody sees a trial that no worker has
            record = replace(record, state=TrialState.PENDING)
        self.tell(decision(record, what, reason, **({} if place is None else asdict(place))))

    def by_rank(
        self, numbers: Sequence[int], what: str, why: str = "", compared: Sequence[Progress] = ()
    ) -> None:
        """A decision that follows from where trials stand, in the end for a reason beside it."""
        every = compared or progress_of(self.study, self.halving, self.objectives, ())
        found = places(every, self.halving.shares())
        for number in numbers:
            place = found.get(number)
            twin = self.study.trial(number).user_attrs.get(TWIN)
            stands = str(place) if place else None
            if place is None and twin is not None:
                stands = f"as trial {trial_id(twin)}, whose weights it has"
            self.say(number, what, "; ".join(filter(None, [stands, why])) or None, place)
