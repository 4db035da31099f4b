"""`python -m orchestrator.pages run=runs/RUN`: what more training pages would bring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from detector.config import cli
from detector.config.answer import answer
from detector.config.cli import log
from detector.config.sections import Section
from detector.core.commands import command
from orchestrator.execute.trial import TrialFunction
from orchestrator.page_parts.kept import FILE, PageCurve
from orchestrator.page_parts.parts import MOST_HALVINGS
from orchestrator.page_parts.plan import PAGES_FOLDER, Plan, plan
from orchestrator.page_parts.scores import scored
from orchestrator.page_parts.train import done_in, opened, train_again
from orchestrator.place.interruption import INTERRUPTED, Interruption
from orchestrator.propose.again import Training
from orchestrator.propose.kept import KeptTrainings, best_of
from orchestrator.report_page.write import try_report
from orchestrator.run.endings import joined
from orchestrator.run.run import Run
from orchestrator.run.trial_data import validation_pages
from orchestrator.trials.duration import duration


class PagesSettings(Section):
    run: Path = Field(description="a run's folder, such as runs/RUN, whose search is over")
    halvings: int = Field(
        2,
        ge=1,
        le=MOST_HALVINGS,
        description="parts of the pages to train on: a half, a quarter, an eighth",
    )


def main(settings: PagesSettings, *, trial: TrialFunction | None = None) -> int:
    """Train on parts of the pages, and print and keep the curve. `trial` replaces the training."""
    run = opened(settings.run)
    planned = plan(run, settings.halvings)
    given = {"run": run.folder, "halvings": settings.halvings}
    again = command("orchestrator.pages", given, variables=joined())
    curve = done_in(run, again, lambda interruption: _made(run, planned, trial, interruption))
    if curve is None:
        return INTERRUPTED
    answer(curve.as_json())
    _show(curve)
    return 0


def _made(
    run: Run, planned: Plan, trial: TrialFunction | None, interruption: Interruption
) -> PageCurve:
    """Make the trainings that are missing, score all, and keep and report the curve."""
    known = KeptTrainings(run.folder, FILE)
    left = [t for t in planned.trainings if known.of(t.folder) is None]
    pages = validation_pages(planned.config.data)
    if left:
        log(_cost(planned, left))
        train_again(run, left, known, trial, interruption)
    log(f"scoring {len(planned.sizes)} detectors on {len(pages)} validation pages")
    scores = []
    for size in planned.sizes:
        interruption.step()
        scores.append(scored(best_of(size.folder), pages))
    sizes = [(size.pages, size.epochs) for size in planned.sizes]
    curve = PageCurve.of(planned.leader.trial, sizes, scores)
    known.write(curve=curve.as_json())
    try_report(run)
    return curve


def _cost(planned: Plan, left: Sequence[Training]) -> str:
    """What is to be done. As many steps and validations as the trial's take about its time."""
    each, trial = duration(planned.seconds), planned.leader.trial
    return (
        f"cost: {len(left)} of {len(planned.trainings)} trainings are to do with the settings of "
        f"trial {trial} ({', '.join(training.name for training in left)}), each of about as many "
        f"steps as its own, which took {each}: about {duration(planned.seconds * len(left))} in "
        f"all (trials/{trial}*/{PAGES_FOLDER}/*/log.txt)"
    )


def _show(curve: PageCurve) -> None:
    """Print the curve as a table, and what it says."""
    print(f"{'pages':>7}{'epochs':>8}{'H-mean':>9}{'IoU H-mean':>12}")
    for point in curve.points:
        print(f"{point.pages:>7}{point.epochs:>8}{point.hmean:>9.4f}{point.iou_hmean:>12.4f}")
    print(f"{curve.twice.pages:>7}{'':8}{curve.twice.hmean:>9.4f}  expected")
    print(curve.sentence)


if __name__ == "__main__":
    cli.run(
        main,
        PagesSettings,
        program="python -m orchestrator.pages",
        description="Train the best configuration of a run on parts of its training pages, and say "
        "from the curve what twice the pages would bring. Goes on where it was stopped; prints a "
        "table, and keeps it in RUN/pages.json and the report.",
    )
