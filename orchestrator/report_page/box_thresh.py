"""How the leaders' H-mean depends on `box_thresh`, from what their trainings have kept."""

from __future__ import annotations

import json
from dataclasses import dataclass

from detector.monitor import BOX_THRESH
from orchestrator.report_page.blocks import Chart, Paragraph, Section
from orchestrator.report_page.facts import RunFacts
from orchestrator.report_page.figures import SERIES, figure, lines
from orchestrator.report_page.wording import counted, score
from orchestrator.trials.records import TrialRecord

LEADERS = 5
SLACK = 0.002  # of H-mean: what is lost without anybody noticing
TITLE = "H-mean by box_thresh"


@dataclass(frozen=True)
class Curve:
    """The H-mean at each `box_thresh`, rising, of a trial's best epoch."""

    trial: str
    box_thresh: tuple[float, ...]
    hmean: tuple[float, ...]

    @property
    def best(self) -> int:
        """The index of the highest H-mean, the first of equal ones."""
        return max(range(len(self.hmean)), key=lambda i: self.hmean[i])

    def safe(self) -> tuple[float, float]:
        """The lowest and highest `box_thresh` around the best one that lose SLACK at most."""
        floor = self.hmean[self.best] - SLACK
        low = high = self.best
        while low > 0 and self.hmean[low - 1] >= floor:
            low -= 1
        while high + 1 < len(self.hmean) and self.hmean[high + 1] >= floor:
            high += 1
        return self.box_thresh[low], self.box_thresh[high]


def section(facts: RunFacts) -> Section:
    """The curves of the best trials that have one."""
    curves = [c for c in (read(facts, r) for r in facts.leaders[:LEADERS]) if c is not None]
    if not curves:
        text = (
            "No curve was kept: a training writes one with the best epoch when it sweeps several "
            "values of box_thresh (train.sweep, sweep.box_thresh)."
        )
        return Section("box-thresh", TITLE, [Paragraph(text)])
    data = [
        lines(
            c.box_thresh,
            c.hmean,
            mode="lines+markers",
            name=f"trial {c.trial}",
            line={"color": colour, "width": 2},
            hovertemplate="box_thresh %{x:.2f}<br>H-mean %{y:.4f}",
        )
        for c, colour in zip(curves, SERIES, strict=False)
    ]
    first = curves[0]
    low, high = first.safe()
    summary = (
        f"{counted(len(curves), 'leader')}, each at its best epoch with its other post-processing "
        f"settings at their best, scored on the pages they were chosen on. Trial {first.trial} is "
        f"best at {first.box_thresh[first.best]:g} with {score(first.hmean[first.best])}, and "
        f"loses {SLACK:g} at most from {low:g} to {high:g}."
    )
    chart = Chart("box-thresh-chart", TITLE, summary, figure(data, "box_thresh", "H-mean"))
    return Section("box-thresh", TITLE, [chart])


def read(facts: RunFacts, record: TrialRecord) -> Curve | None:
    """The curve that a trial's training kept; None without one of its best epoch."""
    path = facts.folder_of(record) / BOX_THRESH
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        curve = Curve(
            record.trial,
            tuple(float(v) for v in content["box_thresh"]),
            tuple(float(v) for v in content["hmean"]),
        )
        fits = content["epoch"] == record.best_epoch
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = len(curve.box_thresh) == len(curve.hmean) > 1
    return curve if fits and whole else None
