"""Paused trials that are stopped before the search is over, and with it; weights that go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from optuna.trial import TrialState as OptunaState

from orchestrator.compare.decisions import Decisions
from orchestrator.compare.disk import GB, to_give_up
from orchestrator.compare.halving import Progress, out_of_reach, places
from orchestrator.events.kinds import Note
from orchestrator.results.ranking import leaders
from orchestrator.run.as_records import TWIN
from orchestrator.trials.records import TrialState


class Ends:
    """Stops trials of a study that nobody has at work, and tells why.

    progress: where all trials stand now. disk_gb: what the files of all trials may take, see
    `orchestrator.compare.disk`; None is no limit. to_confirm: so many of the best finished trials
    keep their weights in any case, as trainings with new seeds may make any of them the best.
    Whoever keeps the files deletes those of trials that the study calls over, and weights that it
    calls deleted.
    """

    def __init__(
        self,
        decisions: Decisions,
        progress: Callable[[], Sequence[Progress]],
        disk_gb: float | None,
        to_confirm: int = 0,
    ) -> None:
        self._decisions, self._progress, self._disk_gb = decisions, progress, disk_gb
        self._to_confirm = to_confirm
        self._is_over_told = False

    def search(self) -> None:
        """The search is over: what is paused now goes no further."""
        every = self._progress()
        self._stop([p for p in every if p.is_paused and not p.ended], "the search is over", every)

    def early(self, more: int) -> None:
        """Stop what cannot go on, though `more` trials may be proposed; make room on the disk."""
        self._stop_out_of_reach(more)
        if self._disk_gb is not None:
            self._make_room(self._disk_gb)

    def _stop_out_of_reach(self, more: int) -> None:
        every = self._progress()
        beyond = out_of_reach(every, self._decisions.halving.shares(), more)
        self._stop(beyond, "too many are no worse for it to go on", every)

    def _make_room(self, disk_gb: float) -> None:
        """Delete weights and stop paused trials as far as the limit asks for."""
        study, shares = self._decisions.study, self._decisions.halving.shares()
        every, limit = self._progress(), f"budget.disk_gb={disk_gb:g}"
        busy = {p.number for p in every if p.busy}
        # One that was paused before it went on calls itself so until it reports.
        records = [
            replace(record, state=TrialState.RUNNING) if int(record.trial) in busy else record
            for record in study.records()
        ]
        needed = self._twins() | {int(r.trial) for r in leaders(records, self._to_confirm)}
        found, over = to_give_up(records, places(every, shares), shares, disk_gb * GB, needed)
        paused = {int(record.trial) for record in found if record.state is TrialState.PAUSED}
        self._stop([p for p in every if p.number in paused], f"{limit} has no room for it", every)
        study.delete_weights([record.trial for record in found])
        for record in found:
            self._decisions.say(int(record.trial), "weights_deleted", f"{limit} has no room for it")
        if over and not self._is_over_told:
            self._is_over_told = True
            self._decisions.tell(
                Note(
                    text=f"{limit}: the trials at work and the best ones may take {over / GB:.2g} "
                    "GB more; give more, or fewer trials at a time with budget.concurrent"
                )
            )

    def _twins(self) -> set[int]:
        """The trials whose weights others will be scored with."""
        trials = self._decisions.study.trials
        begun = (trial.user_attrs for trial in trials if not trial.state.is_finished())
        return {notes[TWIN] for notes in begun if TWIN in notes}

    def _stop(self, trials: Sequence[Progress], why: str, every: Sequence[Progress]) -> None:
        for trial in trials:
            self._decisions.study.end(trial.number, OptunaState.PRUNED)
        self._decisions.by_rank([trial.number for trial in trials], "stopped", why, every)
