"""`python -m orchestrator.folds run=runs/RUN`: what its best settings score on unseen pages."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from detector.config import cli
from detector.config.answer import answer
from detector.config.cli import log
from detector.config.sections import Section
from detector.core.commands import command
from orchestrator.execute.trial import TrialFunction
from orchestrator.page_parts.folds import FILE, FoldPlan, FoldScores, fold_plan
from orchestrator.page_parts.scores import scored
from orchestrator.page_parts.train import done_in, opened, train_again
from orchestrator.place.interruption import INTERRUPTED, Interruption
from orchestrator.propose.kept import KeptTrainings, best_of
from orchestrator.report_page.write import try_report
from orchestrator.run.endings import joined
from orchestrator.run.run import Run

MOST_PARTS = 20


class FoldsSettings(Section):
    run: Path = Field(description="a run's folder, such as runs/RUN, whose search is over")
    folds: int = Field(
        5,
        ge=2,
        le=MOST_PARTS,
        description="parts of the training pages; each is scored by a training on the others",
    )


def main(settings: FoldsSettings, *, trial: TrialFunction | None = None) -> int:
    """Train without each part, and print and keep the scores. `trial` replaces the training."""
    run = opened(settings.run)
    planned = fold_plan(run, settings.folds)
    given = {"run": run.folder, "folds": settings.folds}
    again = command("orchestrator.folds", given, variables=joined())
    scores = done_in(run, again, lambda interruption: _made(run, planned, trial, interruption))
    if scores is None:
        return INTERRUPTED
    answer(scores.as_json())
    _show(scores)
    return 0


def _made(
    run: Run, planned: FoldPlan, trial: TrialFunction | None, interruption: Interruption
) -> FoldScores:
    """Make the trainings that are missing, score each on its part, keep and report that."""
    known = KeptTrainings(run.folder, FILE)
    left = [f.training for f in planned.folds if known.of(f.training.folder) is None]
    if left:
        log(planned.cost(len(left)))
        train_again(run, left, known, trial, interruption)
    found = []
    for fold in planned.folds:
        log(f"scoring {fold.name}: {len(fold.pages)} pages")
        interruption.step()
        found.append(scored(best_of(fold.training.folder), fold.pages))
    scores = FoldScores.of(planned, found)
    known.write(scores=scores.as_json())
    try_report(run)
    return scores


def _show(scores: FoldScores) -> None:
    """Print the scores as a table, and what they say."""
    print(f"{'':14}{'pages':>7}{'H-mean':>9}{'IoU H-mean':>12}")
    for part in scores.parts:
        print(f"{part.name:14}{part.pages:>7}{part.hmean:>9.4f}{part.iou_hmean:>12.4f}")
    print(scores.sentence)


if __name__ == "__main__":
    cli.run(
        main,
        FoldsSettings,
        program="python -m orchestrator.folds",
        description="Train the best settings of a run again without each part of its training "
        "pages in turn, and score each part: what to expect on pages that no choice has seen. "
        "Goes on where it was stopped; prints a table, and keeps it in RUN/folds.json and the "
        "report.",
    )
