"""The figures of a validation: merged, chosen among, compared with those before, in a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from detector.config.settings import PostprocessConfig
from detector.core.errors import JobError
from detector.postprocess.edges import edges, told
from detector.postprocess.sweep import quick_figures
from detector.postprocess.sweep_scores import PageSweep, SweepScores
from detector.training.validation.processes import Shown

STALE = "stale_validations"  # since the best one
_MUCH = 0.1  # share of an epoch's time spent waiting for crops that is worth a word
_SWEPT = ("tuned_", "crossfit_")  # prefixes of what the post-processing sweep found


@dataclass(frozen=True, eq=False)
class Told:
    """What people are told of a validation: pages to look at, and why others are missing."""

    shown: list[Shown] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Validated:
    """The figures of a validation by name, the H-mean of every page, and what was swept.

    swept: None where a single setting was scored.
    tuned: the chosen of the settings tried, those of them that differ among the tried ones.
    edges: those of them that are numbers and the first or last tried, by name.
    """

    figures: dict[str, float]
    page_hmeans: dict[str, float]
    swept: SweepScores | None = None
    tuned: dict[str, Any] = field(default_factory=dict)
    edges: dict[str, float] = field(default_factory=dict)
    told: Told = field(default_factory=Told)


@dataclass(frozen=True, eq=False)
class Part:
    """What one process found on its pages, those to show among them, and which it left out."""

    pages: list[PageSweep]
    shown: list[Shown]
    skipped: list[str]


def validated(
    settings: Sequence[PostprocessConfig], parts: Sequence[Part], *, choose: bool
) -> Validated:
    """The figures of a validation, from the scores of all processes' pages at `settings`.

    They are those of the first setting; the others, where there are some, are what a sweep tries
    around it. With `choose` the figures of the sweep are what counts (see `choice`). Raises
    JobError when no page could be read.
    """
    skipped = [message for part in parts for message in part.skipped]
    swept = SweepScores.of(settings, [page for part in parts for page in part.pages])
    if swept is None:
        raise JobError("\n".join(["no page of the split could be read:", *skipped[:5]]))
    told = Told([shown for part in parts for shown in part.shown], skipped)
    if choose:
        return replace(choice(swept), told=told)
    scores = swept.scores(0)
    if len(settings) == 1:
        return Validated(scores.metrics(), scores.page_hmeans, told=told)
    figures = scores.metrics() | quick_figures(swept)
    return Validated(figures, scores.page_hmeans, swept, swept.tuned(), _edges(swept), told)


def choice(swept: SweepScores) -> Validated:
    """A validation whose settings are chosen on its own pages.

    H-mean, precision, recall and page H-means are the cross-fitted ones, since a choice flatters
    itself on the pages it was made on. The pooled H-mean and the IoU scores are those at the
    one setting that all pages choose, which is kept with the weights. `configured_hmean`
    is the H-mean at the setting that the others were tried around. Raises JobError when fewer
    than two pages could be read.
    """
    fitted = swept.cross_fit()
    if fitted is None:
        raise JobError(
            "sweep.choose: post-processing settings are chosen on half of the validation pages "
            "and scored on the others, and fewer than two pages with words could be read; "
            "restore the pages named above, or set sweep.choose=false"
        )
    best = swept.best()
    figures = swept.scores(best).metrics()
    figures |= {"hmean": fitted.hmean, "precision": fitted.precision, "recall": fitted.recall}
    figures |= quick_figures(swept) | {"configured_hmean": swept.scores(0).hmean}
    return Validated(figures, fitted.page_hmeans, swept, swept.tuned(), _edges(swept))


def _edges(swept: SweepScores) -> dict[str, float]:
    return edges(swept.settings, swept.settings[swept.best()])


def record(metrics: dict[str, float], scores: Validated, epoch: int) -> bool:
    """Put a validation into the figures of a training; True when it is the best so far.

    The best epoch is the one with the highest `hmean`; its figures are kept as `best_*`.
    """
    best = scores.figures["hmean"] > metrics.get("best_hmean", -1.0)
    # An epoch that was not swept must not show what an earlier sweep found.
    stale = _SWEPT + (tuple(f"best_{prefix}" for prefix in _SWEPT) if best else ())
    for name in [name for name in metrics if name.startswith(stale)]:
        del metrics[name]
    metrics |= scores.figures
    metrics[STALE] = 0 if best else metrics.get(STALE, 0) + 1
    if best:
        metrics |= {f"best_{name}": value for name, value in scores.figures.items()}
        metrics["best_epoch"] = epoch
    return best


def epoch_line(metrics: dict[str, float], epoch: int, epochs: int, scores: Validated | None) -> str:
    """An epoch as one line for people; without `scores` it was not validated."""
    line = f"epoch {epoch}/{epochs}  loss {metrics['loss/total']:.3f}"
    if scores is not None:
        line += f"  H-mean {metrics['hmean']:.4f}  IoU H-mean {metrics['iou_hmean']:.4f}"
        if "configured_hmean" in scores.figures:
            line += f"  configured {metrics['configured_hmean']:.4f}"
        if "tuned_hmean" in metrics:
            line += f"  tuned {metrics['tuned_hmean']:.4f}"
        if scores.edges:
            line += f" (at an end of what is tried: {told(scores.edges)})"
        line += f"  best {metrics['best_hmean']:.4f}"
    if metrics.get("waiting", 0) >= _MUCH:
        line += f"  waiting for crops {metrics['waiting']:.0%}"
    if metrics["skipped"]:
        line += f"  skipped pages: {metrics['skipped']:.0f}"
    return f"{line}  {metrics['seconds']:.0f} s"
