"""`python -m orchestrator.beside run=runs/RUN other=DETECTOR`: is its best better than that one?"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from detector.config import cli
from detector.config.answer import answer
from detector.config.cli import log
from detector.config.sections import Section
from detector.core.errors import InputError
from detector.core.files import is_locked
from detector.inference.augmented import load_average
from detector.model.graph.starts import STARTS
from orchestrator.page_parts.train import opened
from orchestrator.peers.beside import Beside, keep
from orchestrator.peers.scores import detector_of, score
from orchestrator.report_page.write import try_report
from orchestrator.results.new_pages import NewPages, new_pages, why_not
from orchestrator.run.run import Run
from orchestrator.run.trial_data import validation_pages


class BesideSettings(Section):
    run: Path = Field(description="a run's folder, such as runs/RUN")
    other: Path = Field(
        description="the detector to compare with: a best/ folder, an ensemble, an ONNX file of "
        f"detector.export, or a published one by its name ({', '.join(STARTS)})"
    )
    root: Path | None = Field(None, description="dataset folder; null = that of the trials")


def main(settings: BesideSettings) -> int:
    """Score both on the run's validation pages, print and keep what came of it."""
    run = opened(settings.run)
    expected, best = _best_of(run)
    own, config = load_average([best])
    other, others = detector_of(settings.other, config)
    data = config.data
    if settings.root is not None:
        data = data.model_copy(update={"root": settings.root})
    pages = validation_pages(data)
    log(f"scoring two detectors on {len(pages)} validation pages")
    sides = score(own, config, pages), score(other, others, pages)
    found = Beside.of(*sides, str(settings.other), expected)
    keep(run.folder, found)
    try_report(run, over=not is_locked(run.folder))
    answer(found.as_json())
    _show(found)
    return 0


def _best_of(run: Run) -> tuple[NewPages, Path]:
    """What is expected of the trial that is shipped, and where its weights are."""
    records = run.records()
    expected = new_pages(records)
    if expected is None:
        raise InputError(f"run: nothing of {run.folder} can be compared, since {why_not(records)}")
    (top,) = (record for record in records if record.trial == expected.trial)
    if top.checkpoint is None:
        raise InputError(f"run: the weights of trial {top.trial} are not in {run.folder}")
    return expected, run.folder / top.checkpoint


def _show(found: Beside) -> None:
    """Print the figures of both as a table, and what they say."""
    sides = ((f"trial {found.trial}", found.own), (found.other, found.others))
    width = max(len(name) for name, _ in sides)
    print(f"{'':{width}}{'as it is':>20}{'chosen alike':>20}")
    print(f"{'':{width}}{'H-mean':>10}{'IoU':>10}{'H-mean':>10}{'IoU':>10}")
    for name, its in sides:
        chosen = f"{its.chosen_hmean:>10.4f}{its.chosen_iou_hmean:>10.4f}"
        print(f"{name:{width}}{its.hmean:>10.4f}{its.iou_hmean:>10.4f}{chosen}")
    print(found.sentence)


if __name__ == "__main__":
    cli.run(
        main,
        BesideSettings,
        program="python -m orchestrator.beside",
        description="Score the best detector of a run and another one on the run's validation "
        "pages, with post-processing chosen for both in the same way. Prints a table and how sure "
        "the difference is, and keeps them in RUN/beside.json and the report.",
    )
