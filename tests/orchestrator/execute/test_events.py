"""What a real search tells: every line by the schema, and the leaderboard from them alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detector.config.cli import answered
from orchestrator import report, search
from orchestrator.events.file import NAME, read_events
from orchestrator.events.rebuilt import records_of
from orchestrator.results.leaderboard import JSON_NAME, write_leaderboard

SPACE = """\
description: a space for tests
fixed: {data.longest_side_px: 64, train.seed: 10}
parameters:
  loss.negative_ratio: {uniform: [1.0, 8.0]}
warm_start:
  - {loss.negative_ratio: 3.0}
  - {loss.negative_ratio: 4.0}
  - {loss.negative_ratio: 7.0}
budget: {trials: 4, epochs: 4, grace_epochs: 1, reduction_factor: 2}
"""
WORDS = ("rung", "rank", "of")


def told_trial():
    """A trial is the better the nearer its ratio is to 4; the third one fails."""

    def trial(job, report):
        if job.number == 2:
            raise ValueError("it cannot work")
        best = job.folder / "checkpoint" / "best"
        best.mkdir(parents=True, exist_ok=True)
        done = job.folder / "epoch.txt"
        start = int(done.read_text()) if done.exists() else 0
        for epoch in range(start + 1, (job.until or 4) + 1):
            done.write_text(str(epoch))
            (best / "model.safetensors").write_text(f"{job.number} {epoch}")
            hmean = 1 - abs(job.params["loss.negative_ratio"] - 4) / 10 - 0.1 / epoch
            report(
                {
                    "epoch": epoch,
                    "finished": epoch == 4,
                    "hmean": hmean,
                    "best_hmean": hmean,
                    "best_epoch": epoch,
                    "loss/total": 1 / epoch,
                    "seconds": 2.0 * epoch,
                    "checkpoint": f"trials/{job.folder.name}/checkpoint/best",
                    "page_hmeans": {"a.jpg": hmean, "b.jpg": hmean - 0.01 * job.number},
                }
            )

    return trial


@pytest.fixture(scope="module")
def data(tmp_path_factory, blank_pages) -> Path:
    root = tmp_path_factory.mktemp("data")
    return blank_pages(root, train=["page.jpg"], val=["page.jpg", "other.jpg"])


@pytest.fixture
def run(tmp_path, data, monkeypatch, capfd):
    """`run(...)`: exit code and document of the search command, with --json."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SPACE)

    def command(*arguments: str) -> tuple[int, dict]:
        given = ["--json", "space=tiny.yaml", "name=r", "budget.concurrent=1", *arguments]
        if "resume=true" not in arguments:
            given += [f"data.root={data}", "resources.gpus_per_trial=0"]
        capfd.readouterr()
        code = answered(lambda own: search.main(own, trial=told_trial()), given)
        return code, json.loads(capfd.readouterr().out)

    return command


def check(made: Path, scratch: Path, *, torn: int = 0) -> list[dict]:
    """The events of a run, all by the schema, after the leaderboard was rebuilt from them.

    `torn` lines were cut off.
    """
    events = list(read_events(made))  # those that the schema takes
    assert len(events) + torn == len((made / NAME).read_text().splitlines())
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    scratch.mkdir()
    write_leaderboard(scratch, records_of(events), ["loss.negative_ratio"])
    assert (scratch / JSON_NAME).read_text() == (made / JSON_NAME).read_text()
    return events


def of_kind(events: list[dict], *kinds: str) -> list[dict]:
    return [event for event in events if event["kind"] in kinds]


def decisions(events: list[dict], trial: str) -> list[tuple]:
    found = [event for event in of_kind(events, "decision") if event["trial"] == trial]
    return [(event["decision"], *(event[word] for word in WORDS)) for event in found]


@pytest.mark.usefixtures("ray_cluster")
def test_a_search_tells_what_it_does_and_why(run, tmp_path):
    code, document = run("confirm.top=1", "confirm.seeds=1")
    made = tmp_path / "runs/r"
    events = check(made, tmp_path / "rebuilt")
    kinds = [event["kind"] for event in events]
    assert (kinds[0], kinds[-1]) == ("search_started", "search_ended")
    assert (events[0]["trials"], events[0]["epochs"], events[0]["known"]) == (4, 4, 0)
    assert (events[-1]["reason"], events[-1]["best"]) == ("complete", "00001")
    proposed = of_kind(events, "proposed")
    assert [(e["trial"], e["seed"], e["why"]) for e in proposed] == [
        *[(f"0000{number}", None, "warm_start") for number in range(3)],
        ("00003", None, "sampler"),
        ("00001", 11, "confirmation"),
    ]
    assert decisions(events, "00000")[0] == ("paused", 1, 1, 1)
    best = [("paused", 1, 1, 2), ("promoted", 1, 1, 2), ("paused", 2, 1, 1)]
    assert decisions(events, "00001")[:3] == best
    assert decisions(events, "00001")[-1] == ("finished", None, None, None)
    assert decisions(events, "00002") == [("failed", None, None, None)]
    (failed,) = [e for e in of_kind(events, "decision") if e["decision"] == "failed"]
    assert failed["reason"] == "ValueError: it cannot work"
    own = [e for e in events if e.get("trial") == "00001" and e.get("seed") is None]
    order = [e["kind"] for e in own if e["kind"] in ("proposed", "trial_started", "epoch")]
    assert order[:3] == ["proposed", "trial_started", "epoch"]
    epochs = [(e["epoch"], e["loss"], e["seconds"]) for e in own if e["kind"] == "epoch"]
    assert epochs == [(epoch, 1 / epoch, 2.0 * epoch) for epoch in (1, 2, 3, 4)]
    tops = [(e["trial"], e["epoch"]) for e in of_kind(events, "best")]
    assert tops == [("00000", 1), *[("00001", epoch) for epoch in (1, 2, 3, 4)]]
    (confirmed,) = of_kind(events, "confirmation")
    assert (confirmed["trial"], confirmed["seed"]) == ("00001", 11)
    assert of_kind(events, "best_written")[-1]["trial"] == "00001"
    check_document(code, document, made)


def check_document(code: int, document: dict, made: Path) -> None:
    """What --json gives in the end is what the files say."""
    assert code == 0
    assert document["ended"] == {"reason": "complete", "text": None}
    assert Path(document["run"]).resolve() == made
    rows = json.loads((made / JSON_NAME).read_text())["trials"]
    assert [row["trial"] for row in document["trials"]] == [row["trial"] for row in rows]
    assert document["trials"][0]["loss.negative_ratio"] == 4.0
    assert document["best"] == document["trials"][0]
    assert "next:" in document["advice"]
    assert "error" not in document


@pytest.mark.usefixtures("ray_cluster")
def test_a_resumed_search_adds_to_what_was_told(run, tmp_path, capfd):
    assert run()[0] == 0
    made = tmp_path / "runs/r"
    lines = (made / NAME).read_bytes().splitlines(keepends=True)
    # As a driver leaves it that is killed in the middle of a line, with events still to be told.
    (made / NAME).write_bytes(b"".join(lines[:-6]) + lines[-6][:20])
    code, document = run("resume=true", "budget.trials=+1", "budget.patience=1")
    events = check(made, tmp_path / "rebuilt", torn=1)
    (resumed,) = of_kind(events, "search_resumed")
    assert (resumed["trials"], resumed["known"]) == (5, 4)
    assert (code, document["ended"]["reason"]) == (0, "limit")
    assert document["ended"]["text"].startswith("budget.patience: ")
    assert events[-1]["text"] == document["ended"]["text"]
    assert [event["reason"] for event in of_kind(events, "limit")] == [events[-1]["text"]]
    (made / NAME).unlink()
    assert run("resume=true", "budget.patience=9")[0] == 0
    events = check(made, tmp_path / "again")  # all of it is told anew
    assert {event["why"] for event in of_kind(events, "proposed")} <= {"earlier", "sampler"}

    capfd.readouterr()
    asked = lambda _: report.main(report.ReportSettings(run=made))  # noqa: E731
    assert answered(asked, ["--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["over"], found["best"]["trial"]) == (True, "00001")


@pytest.mark.usefixtures("ray_cluster")
def test_a_search_goes_on_without_its_events(run, tmp_path, monkeypatch, capfd):
    create = search.run_folder.create

    def with_full_disk(folder: Path, *arguments) -> None:
        create(folder, *arguments)
        (folder / NAME).symlink_to("/dev/full")

    monkeypatch.setattr(search.run_folder, "create", with_full_disk)
    given = [f"data.root={tmp_path}", "space=none.yaml"]
    assert answered(lambda own: search.main(own, trial=told_trial()), ["--json", *given]) == 2
    error = json.loads(capfd.readouterr().out)["error"]
    assert (error["kind"], error["exit_code"]) == ("input", 2)
    code, document = run()
    assert (code, document["ended"]["reason"]) == (0, "complete")
    assert not (tmp_path / "runs/r" / NAME).is_file()
