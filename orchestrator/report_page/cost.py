"""What the search cost and did not have to, and what went wrong in it."""

from __future__ import annotations

from dataclasses import dataclass

from detector.training.validation.validate import settings_to_score
from orchestrator.report_page.blocks import (
    Block,
    Cell,
    Facts,
    Paragraph,
    Section,
    Table,
    counted,
    listed,
)
from orchestrator.report_page.facts import RunFacts
from orchestrator.run.as_records import LOST, TWIN, trial_id
from orchestrator.trials.duration import duration
from orchestrator.trials.records import TrialRecord, TrialState

EARLY = (TrialState.STOPPED, TrialState.PAUSED)
FAULTS_TITLE = "Faults met"


@dataclass(frozen=True)
class Cost:
    """Epochs and seconds of a run.

    trained, seconds: of trials, those scored with another's weights apart. planned: all trials
    begun, each to its last epoch. stopped, patience, failed, twins: epochs of these not trained,
    since a trial was stopped or paused, had no better epoch for long, failed, or has the weights
    of another one. ahead: what running trials may still train. again: epochs with new seeds.
    scored: settings of post-processing scored from kept maps, over all validations.
    """

    trained: int
    planned: int
    stopped: int
    patience: int
    failed: int
    twins: int
    ahead: int
    again: int
    seconds: float
    again_seconds: float
    wall: float | None
    twin_trials: int
    settings: int
    scored: int

    @property
    def saved(self) -> int:
        """Epochs that stopping, pausing, patience and equal weights made unnecessary."""
        return self.stopped + self.patience + self.twins


def count(facts: RunFacts) -> Cost:
    """The cost of a run from its study."""
    epochs = facts.space.budget.epochs
    twins = {trial_id(t.number) for t in facts.trials if TWIN in t.user_attrs}
    own = [r for r in facts.records if r.trial not in twins]
    confirmed = [r for seeds in facts.run.study.confirmations().values() for r in seeds.values()]

    def missing(*states: TrialState) -> int:
        return sum(epochs - r.epochs for r in own if r.state in states)

    settings = settings_of(facts)
    # An epoch that was validated is one that was reported.
    validations = sum(len(t.intermediate_values) for t in facts.trials)
    return Cost(
        trained=sum(r.epochs for r in own),
        planned=epochs * len(facts.records),
        stopped=missing(*EARLY),
        patience=missing(TrialState.FINISHED),
        failed=missing(TrialState.FAILED),
        twins=epochs * len(twins),
        ahead=missing(TrialState.RUNNING, TrialState.PENDING),
        again=sum(int(r["epochs"]) for r in confirmed),
        seconds=sum(r.seconds for r in facts.records),
        again_seconds=sum(float(r["seconds"]) for r in confirmed),
        wall=_wall(facts),
        twin_trials=len(twins),
        settings=settings,
        scored=settings * validations,
    )


def settings_of(facts: RunFacts) -> int:
    """Post-processing settings that each validation scores; 1 without a sweep."""
    leader: TrialRecord | None = facts.best or next(iter(facts.records), None)
    if leader is None:
        return 1
    config = facts.space.train_config(leader.params)
    tried = config.sweep.tried() if config.train.sweep else None
    return len(settings_to_score(config.postprocess, tried))


def _wall(facts: RunFacts) -> float | None:
    """Seconds from the first start to the last end, pauses between sessions included."""
    starts = [t.datetime_start for t in facts.trials if t.datetime_start is not None]
    ends = [t.datetime_complete for t in facts.trials if t.datetime_complete is not None]
    return (max(ends) - min(starts)).total_seconds() if starts and ends else None


def spent(facts: RunFacts) -> Section:
    """What was trained, what was not, and what was scored instead."""
    if not facts.records:
        return Section("cost", "Cost", [Paragraph("Nothing was spent yet.")])
    cost = count(facts)
    share = cost.saved / cost.planned if cost.planned else 0.0
    begun, epochs = counted(len(facts.records), "trial"), facts.space.budget.epochs
    text = (
        f"{begun} of {counted(epochs, 'epoch')} would be {cost.planned:,} epochs. "
        f"{cost.trained:,} were trained and {cost.saved:,} saved ({share:.0%})."
    )
    return Section("cost", "Cost", [Paragraph(text, strong=True), Facts(_pairs(cost))])


def _pairs(cost: Cost) -> list[tuple[str, str]]:
    pairs = [
        ("epochs trained", f"{cost.trained:,}"),
        ("saved by stopping and pausing", counted(cost.stopped, "epoch")),
        ("saved by patience", counted(cost.patience, "epoch") if cost.patience else ""),
        ("scored with another trial's weights", _twins(cost)),
        ("not trained, since trials failed", counted(cost.failed, "epoch") if cost.failed else ""),
        ("running trials may still train", counted(cost.ahead, "epoch") if cost.ahead else ""),
        ("training time, all trials", duration(cost.seconds)),
        ("new seeds", _again(cost)),
        ("from the first start to the last end", "" if cost.wall is None else duration(cost.wall)),
        ("post-processing settings scored, not trained", _scored(cost)),
    ]
    return [(name, value) for name, value in pairs if value]


def _twins(cost: Cost) -> str:
    if not cost.twin_trials:
        return ""
    trials, epochs = counted(cost.twin_trials, "trial"), counted(cost.twins, "epoch")
    return f"{trials}, {epochs} saved"


def _again(cost: Cost) -> str:
    return f"{counted(cost.again, 'epoch')}, {duration(cost.again_seconds)}" if cost.again else ""


def _scored(cost: Cost) -> str:
    if cost.settings < 2:
        return ""
    return f"{cost.scored:,}: {cost.settings:,} after each validation, from its probability maps"


def faults(facts: RunFacts) -> Section:
    """Failures with their reasons, each told once, and retries."""
    failures = alike(facts)
    lost = {
        trial_id(t.number): int(t.user_attrs[LOST]) for t in facts.trials if LOST in t.user_attrs
    }
    if not failures and not lost:
        return Section(
            "faults", FAULTS_TITLE, [Paragraph("None: no trial failed and no worker was lost.")]
        )
    blocks: list[Block] = []
    if failures:
        failed = facts.of(TrialState.FAILED)
        text = f"{counted(len(failed), 'trial')} of {len(facts.records)} failed."
        text += " The whole errors are in trials/*/error.txt." if failed else ""
        blocks += [Paragraph(text), _reasons(failures)]
    if lost:
        rows = [[Cell(trial), Cell(str(times), times)] for trial, times in sorted(lost.items())]
        blocks.append(
            Table(
                caption="Trials that went on after their worker was lost",
                headers=["trial", "times"],
                rows=rows,
                numeric=frozenset([1]),
            )
        )
    return Section("faults", FAULTS_TITLE, blocks)


def alike(facts: RunFacts) -> dict[str, list[str]]:
    """The trainings that failed by their reason, the most frequent first."""
    found: dict[str, list[str]] = {}
    for record in sorted(facts.of(TrialState.FAILED), key=lambda r: r.trial):
        found.setdefault(record.reason or "no reason was given", []).append(record.trial)
    for trial, results in sorted(facts.run.study.confirmations().items()):
        for seed, result in results.items():
            if result["reason"]:
                found.setdefault(str(result["reason"]), []).append(f"{trial} with seed {seed}")
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _reasons(failures: dict[str, list[str]]) -> Table:
    return Table(
        caption="Why trainings failed",
        headers=["count", "trials", "reason"],
        rows=[
            [Cell(str(len(names)), len(names)), Cell(listed(names)), Cell(reason)]
            for reason, names in failures.items()
        ],
        numeric=frozenset([0]),
    )
