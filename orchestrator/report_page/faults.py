"""What went wrong: trials and trainings with new seeds that failed, workers that were lost."""

from __future__ import annotations

from orchestrator.report_page.blocks import Block, Cell, Paragraph, Section, Table
from orchestrator.report_page.facts import RunFacts
from orchestrator.report_page.wording import counted, listed
from orchestrator.run.as_records import LOST, trial_id
from orchestrator.trials.records import TrialState

TITLE = "Faults met"


def section(facts: RunFacts) -> Section:
    """Failures with their reasons, each told once, and retries."""
    failures = alike(facts)
    lost = {
        trial_id(t.number): int(t.user_attrs[LOST]) for t in facts.trials if LOST in t.user_attrs
    }
    if not failures and not lost:
        return Section(
            "faults", TITLE, [Paragraph("None: no trial failed and no worker was lost.")]
        )
    blocks: list[Block] = []
    if failures:
        failed = facts.of(TrialState.FAILED)
        text = f"{counted(len(failed), 'trial')} of {len(facts.records)} failed."
        text += " The whole errors are in trials/*/error.txt." if failed else ""
        blocks += [Paragraph(text), _table(failures)]
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
    return Section("faults", TITLE, blocks)


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


def _table(failures: dict[str, list[str]]) -> Table:
    return Table(
        caption="Why trainings failed",
        headers=["count", "trials", "reason"],
        rows=[
            [Cell(str(len(names)), len(names)), Cell(listed(names)), Cell(reason)]
            for reason, names in failures.items()
        ],
        numeric=frozenset([0]),
    )
