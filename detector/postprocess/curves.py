"""A post-processing sweep as a table and as a picture: how the scores depend on each setting."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from detector.core.files import replacing, write_text
from detector.metrics.scores import METRICS
from detector.postprocess.sweep_scores import SweepScores, is_number

_PANELS_A_ROW = 3
_SHOWN_LOSS = 0.1  # values that cost more H-mean than this may lie below a panel's frame
_STYLES: dict[str, dict[str, Any]] = {
    "precision": {"color": "#999999", "linestyle": ":"},
    "recall": {"color": "#999999", "linestyle": "--"},
    "IoU H-mean": {"color": "#D55E00"},
    "CLEval H-mean": {"color": "#0072B2", "linewidth": 2},
}


def write_curves(folder: Path, swept: SweepScores) -> list[Path]:
    """Write curve.csv, a row for each setting with its scores, and curve.png; the two paths."""
    table, picture = folder / "curve.csv", folder / "curve.png"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*swept.settings[0].model_dump(), *METRICS])
    for index, setting in enumerate(swept.settings):
        figures = swept.scores(index).metrics()
        writer.writerow([*setting.model_dump().values(), *figures.values()])
    write_text(table, text.getvalue())
    draw_curves(picture, swept)
    return [table, picture]


def draw_curves(path: Path, swept: SweepScores) -> None:
    """Write a PNG with a panel for each setting of which several values were tried.

    A panel shows the H-mean, precision and recall, and the IoU H-mean, when this setting
    alone moves away from the chosen ones, or, where it is no number, at the best settings for
    each of its values; a point marks the chosen setting.
    """
    axes = varied(swept)
    rows = max(1, -(-len(axes) // _PANELS_A_ROW))
    columns = min(max(len(axes), 1), _PANELS_A_ROW)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows + 0.6), layout="constrained")
    best, fitted = swept.best(), swept.cross_fit()
    title = f"H-mean {swept.scores(best).hmean:.4f} at the chosen of {len(swept.settings)} settings"
    title += f", {swept.scores(0).hmean:.4f} at the stored ones"
    if fitted is not None:
        title += f"; cross-fitted {fitted.hmean:.4f}"
    figure.suptitle(title, fontsize=11)
    panels: Any = figure.subplots(rows, columns, squeeze=False)
    for panel, key in zip(panels.flat, axes, strict=False):
        _panel(panel, swept, key, best)
    for panel in panels.flat[len(axes) :]:
        panel.axis("off")
    if axes:
        lines, names = panels.flat[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=4, frameon=False)
    else:
        panels.flat[0].text(0.5, 0.5, "one setting only", ha="center")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def varied(swept: SweepScores) -> list[str]:
    """The settings of which more than one value was tried."""
    dumps = [setting.model_dump() for setting in swept.settings]
    return [key for key in dumps[0] if len({dump[key] for dump in dumps}) > 1]


def _panel(panel: Axes, swept: SweepScores, key: str, best: int) -> None:
    indices = swept.along(key, around=best)
    values = [getattr(swept.settings[i], key) for i in indices]
    numeric = all(map(is_number, values))
    x = values if numeric else np.arange(len(values))
    scores = [swept.scores(i) for i in indices]
    mark = "o" if len(values) < 15 else ""
    shown = {
        "precision": [s.precision for s in scores],
        "recall": [s.recall for s in scores],
        "IoU H-mean": [s.iou_hmean for s in scores],
        "CLEval H-mean": [s.hmean for s in scores],
    }
    for name, curve in shown.items():
        panel.plot(x, curve, **_STYLES[name], marker=mark, ms=3, label=name)
    hmean = shown["CLEval H-mean"]
    near = [i for i, value in enumerate(hmean) if value >= max(hmean) - _SHOWN_LOSS]
    low = min(curve[i] for curve in shown.values() for i in near)
    panel.set_ylim(bottom=max(low - 0.02, 0), top=min(max(map(max, shown.values())) + 0.01, 1.01))
    place = indices.index(best)
    panel.plot(x[place], hmean[place], "o", ms=9, mfc="none", color="#0072B2")
    if not numeric:
        panel.set_xticks(x, [str(v) for v in values])
        panel.set_xmargin(0.4)
    panel.set_xlabel(key)
    panel.grid(alpha=0.3)
