"""The statistics of a dataset as one picture: two rows of panels for every split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from detector.core.files import replacing
from detector.data.labels.pages import Page
from detector.data.page.preprocess import page_scale, page_sides
from detector.review.statistics import word_height

_COLOUR = "#0072B2"
_MOST_BARS = 8
_GRID = 128  # cells along each side of the density map
# The last percent of a distribution would squeeze the rest to one bar.
_SHOWN_PERCENTILE = 99


def draw_statistics(
    path: Path, splits: Mapping[str, Sequence[Page]], longest_side_px: int | None
) -> None:
    """Write a PNG: languages, orientations, words a page, heights, shapes and places of words.

    Heights are those after a page is resized, see `describe`. Distributions stop at their
    99th percentile, which their titles say when something lies beyond.
    """
    rows = 2 * max(1, len(splits))
    figure = Figure(figsize=(13, 3.3 * rows), layout="constrained")
    panels: Any = figure.subplots(rows, 3, squeeze=False)
    for number, (name, pages) in enumerate(splits.items()):
        row = panels[2 * number : 2 * number + 2].ravel()
        _split(row, pages, longest_side_px)
        words = sum(len(page.words) for page in pages)
        row[0].set_ylabel(f"{_plain(name)}: {len(pages)} pages, {words} words", fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=80)


def density(pages: Sequence[Page]) -> NDArray[np.float64]:
    """`(128, 128)` words that cover each place of a page, on average; rows run down the page.

    Every page is stretched to the unit square first.
    """
    total = np.zeros((_GRID, _GRID))
    for page in pages:
        for word in page.words:
            cells = word.points * (_GRID / np.array([page.width, page.height]))
            # A pixel of fillPoly is a cell, and its centre is at half a cell.
            cells = np.clip(np.rint(cells - 0.5), -1, _GRID).astype(np.int32)
            covered = np.zeros((_GRID, _GRID), np.uint8)
            cv2.fillPoly(covered, [cells], 1)
            total += covered
    return total / max(len(pages), 1)


def aspect_ratio(points: NDArray[np.float32]) -> float:
    """Long by short side of the smallest rotated rectangle, at least 1; short sides from 1 px."""
    sides = cv2.minAreaRect(points)[1]
    return float(max(sides) / max(min(sides), 1.0))


def _split(row: Sequence[Axes], pages: Sequence[Page], longest_side_px: int | None) -> None:
    words = [(page, word) for page in pages for word in page.words]
    _bars(row[0], (name for _, word in words for name in word.languages), "languages")
    orientations = (w.orientation for _, w in words if w.orientation is not None)
    _bars(row[1], orientations, "orientations")
    _histogram(row[2], [len(page.words) for page in pages], "words a page")
    sides = page_sides(longest_side_px, None)
    heights = [word_height(w) * page_scale(p.width, p.height, *sides) for p, w in words]
    _histogram(row[3], heights, "word height, px, resized")
    _histogram(row[4], [aspect_ratio(w.points) for _, w in words], "long by short side")
    _map(row[5], pages)


def _bars(panel: Axes, values: Iterable[str], title: str) -> None:
    counts = Counter(values).most_common()
    shown = counts[:_MOST_BARS]
    if len(counts) > len(shown):
        shown = [*shown[:-1], ("others", sum(n for _, n in counts[_MOST_BARS - 1 :]))]
    panel.set_title(title if shown else f"{title}: none given", fontsize=11)
    bars = panel.barh([_plain(name) for name, _ in shown], [n for _, n in shown], color=_COLOUR)
    panel.bar_label(bars, padding=3, fontsize=9)
    panel.set_ylim(max(len(shown), 4) - 0.5, -0.5)  # a single bar would fill the panel
    panel.margins(x=0.2)


def _plain(text: str) -> str:
    """Matplotlib's own font has no Hangul and reads `$` as mathematics."""
    short = text if len(text) <= 14 else text[:12] + "..."
    return short.encode("ascii", "backslashreplace").decode().replace("$", r"\$")


def _histogram(panel: Axes, values: Sequence[float], title: str) -> None:
    if not values:
        panel.set_title(f"{title}: none", fontsize=11)
        return
    end = float(np.percentile(values, _SHOWN_PERCENTILE))
    beyond = sum(value > end for value in values)
    panel.hist([v for v in values if v <= end], bins=40, color=_COLOUR)
    middle = float(np.median(values))
    panel.axvline(middle, color="#D55E00", linewidth=1.5)
    note = f"; {beyond} beyond, up to {max(values):.0f}" if beyond else ""
    panel.set_title(f"{title}\nmedian {middle:.4g}{note}", fontsize=11)


def _map(panel: Axes, pages: Sequence[Page]) -> None:
    shapes = [page.height / page.width for page in pages]
    shape = float(np.clip(np.median(shapes), 0.4, 2.5)) if shapes else 1.0
    image = panel.imshow(density(pages), extent=(0, 1, 1, 0), aspect=shape, cmap="magma", vmin=0)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_title("words at each place of a page", fontsize=11)
    if panel.figure is not None:
        panel.figure.colorbar(image, ax=panel, shrink=0.8)
