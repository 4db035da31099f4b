"""`python -m orchestrator.report run=runs/RUN`: a run's leaderboard and page from its study."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from detector.cli import log, run
from detector.errors import InputError
from detector.settings import Section
from orchestrator.config.settings import SearchConfig
from orchestrator.report_page.write import write_report
from orchestrator.results.printed import print_leaderboard
from orchestrator.results.write import write_results
from orchestrator.run import study as store
from orchestrator.run.run_folder import CONFIG, SPACE, is_locked, stored_search, study_name
from orchestrator.space.search_space import load_space


class ReportSettings(Section):
    run: Path = Field(description="a run's folder, such as runs/RUN")


def main(settings: ReportSettings) -> int:
    """Write the leaderboard, `best/` and `report.html` again, and print the leaderboard."""
    folder = settings.run
    if not (folder / CONFIG).is_file() or not (folder / SPACE).is_file():
        raise InputError(f"run: {folder} is not a run's folder ({CONFIG} or {SPACE} is missing)")
    config: SearchConfig = stored_search(folder)
    url = store.storage_url(folder, config.storage)
    if config.storage is None and not (folder / "study.db").is_file():
        raise InputError(f"run: {folder} has no study.db; its search never started a trial")
    space = load_space(str(folder / SPACE), gpu=True)
    parameters = list(space.parameters)
    study = store.stored_study(url, study_name(folder))
    records = store.read_records(study)
    write_results(folder, records, parameters, config.search.trade_off())
    print_leaderboard(records, parameters, published=space.published)
    log(f"report: {write_report(study, space, folder, config, over=not is_locked(folder))}")
    return 0


if __name__ == "__main__":
    run(
        main,
        ReportSettings,
        program="python -m orchestrator.report",
        description="Write and print a run's leaderboard from its study, during a search too.",
    )
