"""`report.html` in a run's folder, during a search and after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detector.config.cli import log
from detector.core.files import write_text
from orchestrator.report_page import (
    board,
    cost,
    progress_charts,
    reproduce,
    settings_charts,
    summary,
    worst_pages,
)
from orchestrator.report_page.facts import RunFacts, gather
from orchestrator.report_page.render import render
from orchestrator.run.run import Run
from orchestrator.trials.job import Listener, TrialJob

REPORT = "report.html"
EVERY_S = 30.0  # between two reports of a running search, at least
MOST_SHARE = 0.02  # of the search's own process that its reports may take


def write_report(run: Run, *, over: bool = True, pages: bool = True) -> Path:
    """Write the report of a run into its folder, and return where it is.

    over: no search is working on it. pages: run the best detector on its worst pages, which takes
    seconds. Whoever reads the file sees the old one or the new one, never half.
    """
    facts = gather(run, over=over)
    target = run.folder / REPORT
    write_text(target, page(facts, pages=pages))
    return target


def page(facts: RunFacts, *, pages: bool) -> str:
    """The whole report as HTML."""
    worst = worst_pages.section(facts, draw=pages)
    sections = [
        summary.section(facts, worst_pages.in_short(worst)),
        *board.beside(facts),
        *progress_charts.outlook(facts),
        board.leaderboard(facts),
        worst,
        progress_charts.history(facts),
        progress_charts.learning(facts),
        *progress_charts.by_folds(facts),
        *progress_charts.by_pages(facts),
        settings_charts.section(facts),
        settings_charts.by_box_thresh(facts),
        board.pareto(facts),
        cost.spent(facts),
        cost.faults(facts),
        reproduce.section(facts),
    ]
    state = "search over" if facts.over else "search still running"
    subtitle = f"{facts.space.name}, {state}, written {facts.when:%Y-%m-%d %H:%M %Z}"
    return render(f"Run {facts.folder.resolve().name}", subtitle, sections)


def try_report(
    run: Run, *, over: bool = True, pages: bool = True, say: Callable[[str], None] = log
) -> bool:
    """`write_report`, whose failure is one line and nothing more; whether it was written."""
    try:
        write_report(run, over=over, pages=pages)
    except Exception as error:  # whatever it is, a search is worth more than its report
        reason = " ".join(str(error).split()) or "no message"
        say(f"{run.folder / REPORT}: not written ({type(error).__name__}: {reason})"[:300])
        return False
    return True


class LiveReport(Listener):
    """Writes the report of a running search now and then.

    That is `every_s` after the last one at the earliest, and late enough for all of them to take
    MOST_SHARE of the time. The pictures of pages are left to the end.
    """

    def __init__(
        self,
        run: Run,
        *,
        say: Callable[[str], None] = log,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._say, self._every_s, self._clock = run, say, every_s, clock
        self._next = clock() + every_s

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:  # noqa: ARG002
        """There is something new."""
        self.write()

    def ended(self, job: TrialJob) -> None:  # noqa: ARG002
        """There is something new."""
        self.write()

    lost = ended

    def write(self) -> None:
        """Write the report if it is time to."""
        started = self._clock()
        if started < self._next:
            return
        try_report(self._run, over=False, pages=False, say=self._say)
        ended = self._clock()
        self._next = ended + max(self._every_s, (ended - started) / MOST_SHARE)
