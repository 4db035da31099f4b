"""What is measured on a GPU: figures with their goals, the table of them, and the files."""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detector.core.files import write_text

NO_GPU = "not measured: no GPU"
COLUMNS = ("figure", "goal", "measured", "reached")


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    value: None where it was not measured; `note` then says why.
    unit: what follows the value; a value in % is a share.
    met: whether the goal is reached; None where there is none, and where nothing was measured.
    of_gpu: whether it says nothing without a GPU.
    """

    name: str
    value: float | None
    unit: str = ""
    goal: str = ""
    met: bool | None = None
    of_gpu: bool = True
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What one part of the check gave.

    seconds: of wall time. reason: why there is no more; empty where all was measured.
    failed: whether that reason is an error. trace: where it was raised.
    """

    part: str
    figures: tuple[Figure, ...] = ()
    seconds: float = 0.0
    reason: str = ""
    failed: bool = False
    trace: str = ""


def seen(name: str, value: float, unit: str = "", **more: Any) -> Figure:
    """A figure without a goal."""
    return Figure(name, value, unit, **more)


def at_least(name: str, value: float, goal: float, unit: str = "", **more: Any) -> Figure:
    return Figure(name, value, unit, f"≥ {_goal(goal, unit)}", value >= goal, **more)


def at_most(name: str, value: float, goal: float, unit: str = "", **more: Any) -> Figure:
    return Figure(name, value, unit, f"≤ {_goal(goal, unit)}", value <= goal, **more)


def holds(name: str, true: bool, **more: Any) -> Figure:
    """Something that is so, 1, or is not, 0."""
    return Figure(name, float(true), "", "yes", true, **more)


def without_gpu(figure: Figure) -> Figure:
    """The figure as it stands in the table of a machine without a GPU."""
    if not figure.of_gpu:
        return figure
    return Figure(figure.name, None, figure.unit, figure.goal, note=NO_GPU)


def failure(error: BaseException) -> tuple[str, str]:
    """The reason, on one line, and where it was raised."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind, "".join(traceback.format_exception(error))


def table(outcomes: Sequence[Outcome]) -> str:
    """All figures in Markdown, aligned for people, and below why some are missing."""
    rows = [COLUMNS]
    for outcome in outcomes:
        rows.append((f"**{outcome.part}**", "", f"{outcome.seconds:.0f} s", ""))
        rows += [_row(figure) for figure in outcome.figures]
        if outcome.reason:
            rows.append(("", "", "failed" if outcome.failed else "left out", ""))
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    reasons = [f"\n{outcome.part}: {outcome.reason}" for outcome in outcomes if outcome.reason]
    return "\n".join(lines + reasons)


def write(folder: Path, about: Mapping[str, Any], outcomes: Sequence[Outcome]) -> None:
    """Keep all that there is so far in `folder`: `gpu.json`, and the table as `gpu.md`."""
    content = {"about": dict(about), "parts": [asdict(outcome) for outcome in outcomes]}
    write_text(folder / "gpu.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    told = "\n".join(f"- {key}: {value}" for key, value in about.items())
    write_text(folder / "gpu.md", f"{told}\n\n{table(outcomes)}\n")


def _row(figure: Figure) -> tuple[str, str, str, str]:
    reached = "" if figure.met is None else "yes" if figure.met else "**no**"
    return figure.name, figure.goal, _measured(figure), reached


def _measured(figure: Figure) -> str:
    if figure.value is None:
        return figure.note
    if figure.goal == "yes":
        shown = "yes" if figure.value else "no"
    else:
        shown = _number(figure.value, figure.unit)
    return f"{shown} ({figure.note})" if figure.note else shown


def _goal(value: float, unit: str) -> str:
    return f"{100 * value:g} %" if unit == "%" else f"{value:g} {unit}".rstrip()


def _number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.3g} %"
    long = math.isfinite(value) and abs(value) >= 100
    text = f"{value:,.0f}" if long else f"{value:.3g}"
    return f"{text} {unit}".rstrip()
