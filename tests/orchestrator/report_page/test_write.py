"""The file: written whole, now and then, and never at the cost of a search."""

from __future__ import annotations

import shutil
from datetime import datetime

import pytest
from optuna.trial import TrialState

from orchestrator import report
from orchestrator.report import ReportSettings
from orchestrator.report_page.write import LiveReport, try_report, write_report

HOSTILE = "<img src=x onerror=alert(1)></script>"


def make(run, **choices):
    return write_report(run.run, **choices).read_text()


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [(TrialState.FAIL, [])],
        [(TrialState.RUNNING, [])],
        [(TrialState.RUNNING, [0.2])],
        [(TrialState.COMPLETE, [0.5])],
        [(TrialState.PRUNED, [0.0]), (TrialState.FAIL, [0.1])],
        [(TrialState.COMPLETE, [0.5] * 6), (TrialState.COMPLETE, [0.5] * 6)],
    ],
)
def test_any_run_has_a_page(make_run, trials):
    run = make_run()
    for state, hmeans in trials:
        run.add(state, hmeans, reason=HOSTILE, pages=[])
    page = make(run)
    assert page.count("<h1>") == 1
    assert HOSTILE not in page
    assert page.count("<section ") == 11


def test_a_run_for_several_objectives_has_a_page(make_run):
    run = make_run(search={"objectives": ["hmean", "latency_ms", "params_m"]})
    run.add(TrialState.COMPLETE, [0.5] * 6)
    assert "Pareto front of H-mean, ms a page and million weights" in make(run)


def test_a_running_search_says_what_is_to_come(usual):
    expected = {"seconds": 5400.0, "low": 3600.0, "high": 7200.0, "gain": 0.00123, "rate": 0.002}
    assert "What is to come" not in make(usual, over=False, pages=False)
    usual.study.keep_forecast(expected, datetime(2026, 5, 4, 10, 0))
    page = make(usual, over=False, pages=False)
    for text in ("about 2026-05-04 11:30", "1h 00m to 2h 00m", "H-mean +0.0012 expected"):
        assert text in page
    assert "What is to come" not in make(usual, over=True, pages=False)


def test_a_running_search_says_so(usual):
    page = make(usual, over=False, pages=False)
    assert "search still running" in page
    assert "Which trial to ship, so far" in page
    assert "The worst pages are drawn when the search is over" in page


def test_data_that_are_gone_are_a_sentence(usual):
    assert "The worst pages of trial 00000 cannot be drawn: " in make(usual)


def test_a_report_that_cannot_be_written_is_one_line(usual):
    said = []
    shutil.rmtree(usual.folder)
    usual.folder.write_text("a file where the folder was")
    assert not try_report(usual.run, say=said.append)
    assert len(said) == 1
    assert said[0].startswith(f"{usual.folder}/report.html: not written (")
    assert "\n" not in said[0]


def test_a_live_report_waits_and_takes_a_small_share(usual):
    path, now = usual.folder / "report.html", [0.0]

    class Clock:
        """Each reading is a second later while a report is written, which so takes one second."""

        def __call__(self):
            now[0] += 1.0
            return now[0]

    live = LiveReport(usual.run, every_s=10.0, clock=Clock())
    live.write()
    assert not path.exists()
    now[0] = 20.0
    live.write()
    assert path.exists()
    path.unlink()
    now[0] = 60.0  # 50 s, the fiftyfold of that second, are not over
    live.write()
    assert not path.exists()
    now[0] = 75.0
    live.write()
    assert path.exists()


def test_the_report_command_writes_it_again(usual, capsys):
    (usual.folder / "config.yaml").write_text("space: mine\n")
    assert report.main(ReportSettings(run=usual.folder)) == 0
    assert (usual.folder / "report.html").is_file()
    assert f"report: {usual.folder}/report.html" in capsys.readouterr().err
