"""The validation pages that the best trial reads worst, drawn with what CLEval counted."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.core.errors import InputError, JobError
from detector.data.labels.annotations import Page, read_image
from detector.inference.detector import Detector, load_detector
from detector.metrics.cleval import PageMatch, read_words
from detector.metrics.explain import detection_kinds, explain, found_of
from detector.metrics.picture import draw_page
from orchestrator.report_page.blocks import (
    Block,
    Paragraph,
    Picture,
    Section,
    counted,
    listed,
)
from orchestrator.report_page.facts import RunFacts
from orchestrator.run.trial_data import validation_pages
from orchestrator.trials.records import TrialRecord

TITLE = "Where it still fails"
PAGES = 10
SIDE_PX = 900  # of a picture
QUALITY = 60
LATER = "The worst pages are drawn when the search is over, or by python -m orchestrator.report."


@dataclass(frozen=True)
class Worst:
    """A page with its H-mean in the validation of the best epoch."""

    page: Page
    hmean: float


@dataclass(frozen=True)
class Losses:
    """What CLEval took off: words missed or found in part, and detections that cost something."""

    words: int = 0
    missed: int = 0
    partial: int = 0
    merging: int = 0
    splitting: int = 0
    false: int = 0

    def __add__(self, other: Losses) -> Losses:
        return Losses(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        parts = [
            (self.missed, "missed"),
            (self.partial, "found in part"),
            (self.splitting, "cut into parts"),
        ]
        of_words = [f"{count} {what}" for count, what in parts if count]
        text = f"{counted(self.words, 'word')}"
        text += f", of which {listed(of_words)}" if of_words else ", all found whole"
        if self.merging:
            text += f"; {counted(self.merging, 'detection')} on several words"
        if self.false:
            text += f"; {counted(self.false, 'false detection')}"
        return text


def losses_of(match: PageMatch) -> Losses:
    """The losses of one page, without its ignored words."""
    kinds = detection_kinds(match)
    counted_words = ~match.words.ignored
    found, of = (np.array(values) for values in found_of(match))
    parts = match.matched().sum(axis=1)
    return Losses(
        words=int(counted_words.sum()),
        missed=int((counted_words & (parts == 0)).sum()),
        partial=int((counted_words & (parts > 0) & (found < of)).sum()),
        merging=kinds.count("merged"),
        splitting=int((counted_words & (parts > 1)).sum()),
        false=kinds.count("false"),
    )


def section(facts: RunFacts, *, draw: bool) -> Section:
    """The pictures, or a sentence that says why there are none."""
    top = facts.best
    if top is None:
        return _without("No trial has a score yet.")
    if not draw:
        return _without(LATER)
    try:
        return Section("worst", TITLE, _drawn(facts, top))
    except (InputError, JobError, OSError, RuntimeError) as error:
        reason = str(error).strip() or type(error).__name__
        return _without(f"The worst pages of trial {top.trial} cannot be drawn: {reason}")


def in_short(worst: Section) -> str:
    """The first sentence of a section with pictures; empty for one without."""
    first = worst.blocks[0]
    if not isinstance(first, Paragraph) or not first.strong:
        return ""
    return f"Where it still fails: {_lowered(first.text)}"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _without(text: str) -> Section:
    return Section("worst", TITLE, [Paragraph(text)])


def _drawn(facts: RunFacts, top: TrialRecord) -> list[Block]:
    if top.checkpoint is None:
        raise InputError("its weights are not in the run folder")
    detector, config = load_detector(facts.folder / top.checkpoint)
    data = config.data
    if data.root is not None and not data.root.is_dir():  # the machine that trained had its own
        data = data.model_copy(update={"root": Path(facts.space.fixed["data.root"])})
    worst = worst_pages(facts.run.study.page_scores(int(top.trial)), validation_pages(data))
    drawn = [picture(detector, entry, number) for number, entry in enumerate(worst, 1)]
    lost = sum((losses for _, losses in drawn), Losses())
    pages = "validation page" if len(drawn) == 1 else f"{len(drawn)} validation pages"
    text = (
        "Words are blue with a dot for each character, filled where it was found. Detections are "
        "green when matched, orange when one of several on a word, pink when on several words, red "
        "when false and grey when forgiven. The H-mean in a title is that of the validation; where "
        "post-processing was chosen on other pages (cross-fitted), that under the picture may "
        "differ a little."
    )
    first = f"The {pages} with the lowest H-mean of trial {top.trial}: {lost}."
    return [Paragraph(first, strong=True), Paragraph(text), *(p for p, _ in drawn)]


def worst_pages(
    scores: Mapping[str, float], pages: Sequence[Page], most: int = PAGES
) -> list[Worst]:
    """The pages with the lowest H-means, worst first; equal ones in the order of names.

    `scores` are H-means by the name of a page, without pages that rightly had nothing on them.
    Raises InputError when none of `pages` has one.
    """
    if not scores:
        raise InputError("no scores of its single pages were kept")
    scored = [Worst(page, scores[page.name]) for page in pages if page.name in scores]
    if not scored:
        raise InputError(f"none of the {len(scores)} pages that were scored is there now")
    return sorted(scored, key=lambda entry: (entry.hmean, entry.page.name))[:most]


def picture(detector: Detector, entry: Worst, number: int) -> tuple[Picture, Losses]:
    """A page with its words, what was found and what CLEval made of it."""
    page = entry.page
    image = read_image(page.path)
    found = detector(image).polygons
    words = read_words(
        "competition",
        [word.points for word in page.words],
        [word.text for word in page.words],
        [word.ignore for word in page.words],
    )
    match = words.match(found)
    scale = min(1.0, SIDE_PX / max(image.shape[:2]))
    drawn = draw_page(match, found, image, scale=scale)
    losses = losses_of(match)
    shown = Picture(
        source=data_uri(drawn),
        title=f"{number}. {page.name}: H-mean {entry.hmean:.4f}",
        alt=f"{losses}.",
        width=drawn.shape[1],
        height=drawn.shape[0],
        lines=explain(match),
    )
    return shown, losses


def data_uri(image: NDArray[np.uint8]) -> str:
    """`(H, W, 3)` uint8 RGB as the data URI of a JPEG."""
    ok, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert ok, "cv2 could not code a picture as JPEG"
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode("ascii")
