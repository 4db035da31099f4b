"""What the fault loop counts as a loss, on a study made by hand (searches: tests/faults)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import chaos
import pytest
import timing
from chaos_runs import Run, losses, over, wait_for
from chaos_search import ACCOUNT, STATE, chain_of, score
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from detector.core.errors import InputError, JobError
from orchestrator.results.write import write_results
from orchestrator.run.as_records import LATEST, REASON, trial_id
from orchestrator.run.study import open_study
from orchestrator.store.storage import storage_url

PARAMETERS = ["loss.negative_ratio"]
RANGE = {PARAMETERS[0]: FloatDistribution(1.0, 8.0)}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A search of two trials that are over: one ran to epoch 2, the other failed after 1."""
    run = Run(tmp_path, trials=2)
    run.prepare()
    run.folder.mkdir(parents=True)
    study = open_study(storage_url(run.folder, None), "run", resume=False)
    for number, epochs in enumerate((2, 1)):
        latest = {"epoch": epochs, "best_hmean": 0.5}
        study.begin({PARAMETERS[0]: 2.0 + number}, RANGE, **{LATEST: latest})
        folder = run.folder / "trials" / trial_id(number)
        folder.mkdir(parents=True)
        lines = ["start 0", *(f"epoch {e}" for e in range(1, epochs + 1))]
        (folder / ACCOUNT).write_text("\n".join(lines) + "\n")
        state = {"epoch": epochs, "chain": chain_of(number, epochs)}
        (folder / STATE).write_text(json.dumps(state))
        if number == 0:
            study.report(number, epochs, 0.5)
            study.end(number, TrialState.COMPLETE)
        else:
            study.note(number, **{REASON: "it broke"})
            study.end(number, TrialState.FAIL)
    write_results(run.folder, run.records(), PARAMETERS)
    return run


def account(run: Run, lines: str) -> None:
    (run.folder / "trials/00000" / ACCOUNT).write_text(lines)


def test_a_search_that_kept_its_promises_lost_nothing(run):
    assert [r.state.value for r in over(run)] == ["finished", "failed"]
    assert losses(run, over(run), faults=0) == []


def test_an_epoch_that_was_trained_again_is_a_loss_unless_a_fault_cut_it(run):
    account(run, "start 0\nepoch 1\nepoch 2\nstart 1\nepoch 2\n")
    assert losses(run, [], faults=1) == []
    assert losses(run, [], faults=0) == ["trial 00000: epoch 2 was trained 2 times"]


def test_a_trial_that_began_again_is_a_loss(run):
    account(run, "start 0\nepoch 1\nstart 1\nstart 0\nepoch 1\nepoch 2\n")
    (found,) = losses(run, [], faults=3)
    assert found == "trial 00000 began again before its last epoch: [0, 1, 0]"


def test_other_weights_are_a_loss(run):
    state = {"epoch": 2, "chain": chain_of(0, 1)}
    (run.folder / "trials/00000" / STATE).write_text(json.dumps(state))
    assert losses(run, [], faults=9) == ["trial 00000 has other weights than without a fault"]


def test_a_finished_trial_has_no_epoch_that_it_did_not_report(run):
    state = {"epoch": 3, "chain": chain_of(0, 3)}
    (run.folder / "trials/00000" / STATE).write_text(json.dumps(state))
    for faults in (0, 1):  # the trial is finished, so it must have what it reported
        assert losses(run, [], faults=faults) == ["trial 00000 has epoch 3, not 2"]


def test_a_trial_that_changed_or_is_missing_in_the_leaderboard_is_a_loss(run):
    before = [replace(r, hmean=0.9) for r in over(run)[:1]]
    assert losses(run, before, faults=0) == ["trial 00000 changed after it was over"]
    board = run.folder / "leaderboard.csv"
    text = board.read_text()
    board.write_text(text.replace("it broke", "it did not"))
    (found,) = losses(run, [], faults=0)
    assert "study and leaderboard differ: {'reason': ('it broke', 'it did not')}" in found
    board.write_text("".join(line for line in text.splitlines(True) if "00001" not in line))
    assert losses(run, [], faults=0) == ["trial 00001 is not in the leaderboard"]


def test_a_trial_that_still_runs_and_one_too_many_are_losses(run):
    study = open_study(storage_url(run.folder, None), "run", resume=True)
    study.begin({PARAMETERS[0]: 7.0}, RANGE)
    folder = run.folder / "trials/00002"
    folder.mkdir()
    (folder / ACCOUNT).write_text("start 0\n")
    (folder / STATE).write_text(json.dumps({"epoch": 0, "chain": ""}))
    write_results(run.folder, run.records(), PARAMETERS)
    found = losses(run, [], faults=0)
    assert found == ["trial 00002 is running", "3 trials in place of 2"]


def test_a_search_that_has_not_begun_has_nothing_over_and_is_not_touched(tmp_path):
    run = Run(tmp_path)
    run.folder.mkdir(parents=True)
    assert over(run) == []
    assert list(run.folder.iterdir()) == []


CUT = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=1")  # so that the file is written before the end
connection.execute("CREATE TABLE filler (x)")
connection.execute("BEGIN")
for _ in range(3000):
    connection.execute("INSERT INTO filler VALUES (?)", ("x" * 500,))
os._exit(1)
"""


def test_a_transaction_that_a_kill_cut_hides_nothing_that_was_over(run):
    before = over(run)
    database = run.folder / "study.db"
    subprocess.run([sys.executable, "-c", CUT, str(database)], check=False)
    assert database.with_name("study.db-journal").exists()
    assert over(run) == before != []


def test_what_cannot_happen_any_more_is_not_waited_for():
    with pytest.raises(TimeoutError, match="the search ended before: a miracle\nlast words"):
        wait_for(lambda: False, "a miracle", while_=lambda: False, told=lambda: "last words")


def test_scores_are_better_with_each_epoch_and_best_at_four():
    assert score(4.0, 1) == 0.5
    assert score(4.0, 2) == 0.75
    assert score(4.0, 2) > score(5.0, 2) > score(5.0, 1)


def survives(_run: Run, _random: Random) -> tuple[int, list[str]]:
    return 3, []


def loses(_run: Run, _random: Random) -> tuple[int, list[str]]:
    return 2, ["an epoch", "a trial"]


def crashes(_run: Run, _random: Random) -> tuple[int, list[str]]:
    raise TimeoutError("it never ended")


def test_the_table_counts_what_was_injected_survived_and_lost(tmp_path):
    outcomes = [
        chaos.injected(kind, fault, Run(tmp_path), Random(0), clock=iter((0.0, 60.0)).__next__)
        for kind, fault in (("a", survives), ("b", loses), ("a", survives), ("c", crashes))
    ]
    assert chaos.table(outcomes, {"seed": 5, "minutes": 4, "faults": None}).split("\n") == [
        "`benchmarks/chaos.py seed=5 minutes=4`, 4 minutes:",
        "",
        "| fault | searches | faults injected | survived | lost |",
        "|---|---|---|---|---|",
        "| a | 2 | 6 | 6 | 0 |",
        "| b | 1 | 2 | 0 | 2 |",
        "| c | 1 | 1 | 0 | 1 |",
        "| together | 4 | 9 | 6 | 3 |",
    ]


@pytest.mark.parametrize(("fault", "lost"), [(survives, False), (loses, True)])
def test_a_loss_is_a_failure_after_the_table(monkeypatch, capsys, fault, lost):
    monkeypatch.setattr(chaos, "FAULTS", {"only": fault})
    monkeypatch.setattr(chaos.time, "monotonic", iter(range(0, 10_000, 30)).__next__)
    options = timing.options(["minutes=1"], chaos.DEFAULTS)
    if lost:
        with pytest.raises(JobError, match="something was lost"):
            chaos.main(options)
    else:
        chaos.main(options)
    out, err = capsys.readouterr()
    assert re.search(r"\| together \| \d+ \| \d+ \| \d+ \| \d+ \|\n$", out)
    assert ("  lost: an epoch" in err) == lost


def test_an_unknown_kind_of_fault_is_refused():
    with pytest.raises(InputError, match="faults: 'flood' is in no name of a fault; there are "):
        chaos.chosen("flood")
    assert set(chaos.chosen("driver")) == {"driver killed (SIGKILL)"}
