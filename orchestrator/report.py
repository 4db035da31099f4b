"""`python -m orchestrator.report run=runs/RUN`: a run's leaderboard and page from its study."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from detector.config import cli
from detector.config.answer import answer
from detector.config.cli import log
from detector.config.sections import Section
from detector.core.files import is_locked, require_writable
from orchestrator.report_page.write import write_report
from orchestrator.results.conclusion import results_of
from orchestrator.results.printed import print_leaderboard
from orchestrator.results.write import write_results
from orchestrator.run.run import stored_run
from orchestrator.trials.records import at_rest


class ReportSettings(Section):
    run: Path = Field(description="a run's folder, such as runs/RUN")


def main(settings: ReportSettings) -> int:
    """Write the leaderboard, `best/` and `report.html` again, and print the leaderboard."""
    run = stored_run(settings.run)
    require_writable("run", run.folder, folder=True)
    over = not is_locked(run.folder)
    records = at_rest(run.records()) if over else run.records()
    write_results(run.folder, records, run.parameters, run.trade_off)
    print_leaderboard(records, run.parameters, published=run.space.published)
    page = write_report(run, over=over)
    log(f"report: {page}")
    answer(results_of(run, records) | {"report": page, "over": over})
    return 0


if __name__ == "__main__":
    cli.run(
        main,
        ReportSettings,
        program="python -m orchestrator.report",
        description="Write and print a run's leaderboard from its study, during a search too.",
    )
