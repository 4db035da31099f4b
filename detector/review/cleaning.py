"""Words that a person should look at before training on them: what a page's pixels say of each.

Annotation faults are rules that a file breaks (`words.py`); these are doubts, each with a score
and a reason, for a person to confirm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from detector.core.geometry import Points
from detector.data.labels.exclusion import REASONS, Suspicion
from detector.data.labels.pages import Fault, Page, Word
from detector.data.page.preprocess import page_scale, page_sides


@dataclass(frozen=True)
class Limits:
    """Where doubt begins. Each value was set on real receipts, for few false alarms first.

    - `blank_share` 0.12: ink contrast below this share of the page's typical word. Half of all
      patches of real paper lie under 0.02; at 0.2 faint colons and dot-matrix figures that can
      be read are doubted, while hardly more empty patches are found.
    - `blank_levels` 12: below this many of 255 grey levels it is the noise of JPEG and sensor,
      whatever the rest of the page; the palest real line had 26.
    - `duplicate_iou` 0.8: two annotators agree on one word to about this; neighbouring words
      do not overlap by half.
    - `paper_share` 0.25: a word may hang over the edge of the estimated paper, not lie beyond it.
    - `tiny_px` 3: the thickness below which training leaves words out (`targets.min_side_px`),
      while scoring still asks for them. At 4 a real "1" or ":" in every 800 words is doubted.
    - `watermark_heights` 3 with `watermark_share` 0.5: titles are up to 3 median heights and as
      black as the rest; a watermark is larger and at most half as strong.
    """

    blank_share: float = 0.12
    blank_levels: float = 12.0
    duplicate_iou: float = 0.8
    paper_share: float = 0.25
    tiny_px: float = 3.0
    watermark_heights: float = 3.0
    watermark_share: float = 0.5


# The share of words off the paper beyond which the estimate of the paper is wrong, not the words.
_MOST_OFF_PAPER = 0.1
# Grey levels between paper and table below which there is no telling them apart.
_LEAST_EDGE = 40.0
_PAPER_SIDE_PX = 256  # the paper is found on a page of this longest side
# What is left of a box, so that ink of the neighbouring lines does not count for it.
_CORE = 0.8


def suspicious_words(
    page: Page,
    image: NDArray[np.uint8],
    longest_side_px: int | None,
    limits: Limits | None = None,
) -> list[Suspicion]:
    """Doubts about the words of a page, in the order of its words, one at most for each.

    Args:
        page: its words; don't-care words are not doubted.
        image: the page, `(H, W, 3)` uint8 RGB.
        longest_side_px: the page's longest side in training, None for the default size; `tiny`
            is judged there.
        limits: where doubt begins.
    """
    limits = limits or Limits()
    if not page.words:
        return []
    resized = page_scale(page.width, page.height, *page_sides(longest_side_px, None))
    heights = np.array([min(cv2.minAreaRect(word.points)[1]) for word in page.words])
    ink, scale = ink_map(page, image)
    outlines = [word.points * scale for word in page.words]
    shapes = valid_shapes(word.points for word in page.words)
    contrasts = np.array([_contrast(ink, outline) for outline in outlines])
    rows = zip(
        _tiny(heights * resized, limits),
        _duplicates(page.words, shapes, limits),
        _blank(contrasts, limits),
        _off_paper(page, shapes, image, limits),
        _watermarks(heights, outlines, ink, _typical(contrasts, limits), limits),
        strict=True,
    )
    found = []
    for word, doubts in zip(page.words, rows, strict=True):
        doubt = next((d for d in doubts if d is not None), None)
        if doubt is not None and not word.ignore:
            found.append(Suspicion(page.name, word.id, *doubt))
    return found


def outline_doubts(faults: Iterable[Fault]) -> list[Suspicion]:
    """The repaired outlines among a split's faults, as doubts: the repair is a guess."""
    kinds = {"self-crossing": "swapped-vertices", "tangled": "self-crossing"}
    return [
        Suspicion(f.file, f.word, kinds[f.kind], 1.0, REASONS[kinds[f.kind]])
        for f in faults
        if f.kind in kinds and f.word is not None
    ]


def ink_map(page: Page, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """How far every pixel stands out of the paper around it, and the scale of that map.

    Returns `(h, w)` uint8 grey levels and map pixels per page pixel: at most 1, so that the
    longest side is at most 1024 px. The paper is a median over three word heights, so shadows
    and folds are no ink.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, 1024 / max(grey.shape))
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    heights = [min(cv2.minAreaRect(word.points)[1]) * scale for word in page.words]
    half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    window = int(np.clip(1.5 * np.median(heights), 9, 99)) | 1
    background = cv2.resize(cv2.medianBlur(half, window), grey.shape[::-1])
    return np.asarray(cv2.absdiff(grey, background), np.uint8), scale


def paper_hull(image: NDArray[np.uint8]) -> Points | None:
    """The convex outline of the receipt on a darker table, `(K, 2)` float32 xy in page pixels.

    The largest bright region by the threshold of Otsu (1979). None when the paper fills the page
    or does not differ from what it lies on.
    """
    scale = min(1.0, _PAPER_SIDE_PX / max(image.shape[:2]))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))  # ink away
    bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1]
    if not 0 < bright.sum() < bright.size:
        return None
    if grey[bright == 1].mean() - grey[bright == 0].mean() < _LEAST_EDGE:
        return None
    outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(max(outlines, key=cv2.contourArea))[:, 0].astype(np.float32)
    if cv2.contourArea(hull) > 0.95 * bright.size or len(hull) < 3:
        return None
    return np.asarray((hull + 0.5) / scale, np.float32)


_Doubts = Sequence[tuple[str, float, str] | None]


def _contrast(ink: NDArray[np.uint8], points: Points, without: Iterable[Points] = ()) -> float:
    """The 95th percentile of ink in the core of an outline, leaving out other outlines.

    0 when no pixel of the page is left.
    """
    centre = points.mean(axis=0)
    values = values_inside(ink, np.asarray(centre + (points - centre) * _CORE), without)
    return float(np.percentile(values, 95)) if values.size else 0.0


def values_inside(
    image: NDArray[Any], points: Points, without: Iterable[Points] = ()
) -> NDArray[Any]:
    """`(n,)` pixels of an `(H, W)` image on and inside an outline, but not inside others.

    Outlines are `(K, 2)` xy in pixels of the image, rounded to whole ones.
    """
    low = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    high = np.ceil(points.max(axis=0)).astype(int) + 1
    part = image[low[1] : high[1], low[0] : high[0]]
    if part.size == 0:
        return part.ravel()
    inside = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(inside, [np.rint(points - low).astype(np.int32)], 1)
    for other in without:
        cv2.fillPoly(inside, [np.rint(other - low).astype(np.int32)], 0)
    return np.asarray(part[inside > 0])


def valid_shapes(outlines: Iterable[Points]) -> NDArray[np.object_]:
    """`(N,)` shapely geometries of outlines `(K, 2)`, repaired where they cross themselves."""
    shapes = [shapely.Polygon(outline.astype(np.float64)) for outline in outlines]
    return np.asarray(shapely.make_valid(np.array(shapes, dtype=object)))


def _tiny(heights: NDArray[np.float64], limits: Limits) -> _Doubts:
    limit = limits.tiny_px
    return [
        ("tiny", _score(h / limit), f"{h:.1f} px thick at training scale, under {limit:g}")
        if h < limit
        else None
        for h in heights.tolist()
    ]


def _duplicates(words: Sequence[Word], shapes: NDArray[np.object_], limits: Limits) -> _Doubts:
    """The later of two like words, or the one without text."""
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    doubts: list[tuple[str, float, str] | None] = [None] * len(words)
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        if i >= j or words[i].ignore or words[j].ignore:
            continue
        overlap = shapes[i].intersection(shapes[j]).area
        iou = overlap / max(shapes[i].area + shapes[j].area - overlap, 1e-9)
        if iou > limits.duplicate_iou:
            keep, drop = (j, i) if words[j].text and not words[i].text else (i, j)
            score = _score((1 - iou) / (1 - limits.duplicate_iou))
            doubts[drop] = ("duplicate", score, f"IoU {iou:.2f} with word {words[keep].id}")
    return doubts


def _blank(contrasts: NDArray[np.float64], limits: Limits) -> _Doubts:
    typical = _typical(contrasts, limits)
    limit = max(limits.blank_share * typical, limits.blank_levels)
    return [
        (
            "blank",
            _score(c / limit),
            f"ink {c:.0f} of 255, usual here {typical:.0f}",
        )
        if c < limit
        else None
        for c in contrasts.tolist()
    ]


def _typical(contrasts: NDArray[np.float64], limits: Limits) -> float:
    """The median contrast of the words with ink; 0 when none has any."""
    inked = contrasts[contrasts >= limits.blank_levels]
    return float(np.median(inked)) if inked.size else 0.0


def _off_paper(
    page: Page, shapes: NDArray[np.object_], image: NDArray[np.uint8], limits: Limits
) -> _Doubts:
    hull = paper_hull(image)
    if hull is None:
        return [None] * len(page.words)
    paper = shapely.Polygon(hull).buffer(0.01 * max(page.width, page.height))
    shares = shapely.area(shapely.intersection(shapes, paper)) / np.maximum(
        shapely.area(shapes), 1e-9
    )
    if (shares < limits.paper_share).mean() > _MOST_OFF_PAPER:
        return [None] * len(page.words)
    return [
        ("off-paper", _score(s / limits.paper_share), f"{s:.0%} of it lies on the receipt")
        if s < limits.paper_share
        else None
        for s in shares.tolist()
    ]


def _watermarks(
    heights: NDArray[np.float64],
    outlines: Sequence[Points],
    ink: NDArray[np.uint8],
    typical: float,
    limits: Limits,
) -> _Doubts:
    """Tall words that are pale where no other word lies on them; 0 left of one says nothing."""
    doubts: list[tuple[str, float, str] | None] = [None] * len(outlines)
    tall = heights / max(float(np.median(heights)), 1e-9)
    for i in np.flatnonzero(tall > limits.watermark_heights).tolist():
        others = [outline for j, outline in enumerate(outlines) if tall[j] < tall[i]]
        pale = _contrast(ink, outlines[i], others) / max(typical, 1e-9)
        if 0 < pale < limits.watermark_share:
            reason = f"{tall[i]:.1f} median heights, {pale:.0%} of the usual ink"
            doubts[i] = ("watermark", _score(pale / limits.watermark_share), reason)
    return doubts


def _score(share_of_limit: float) -> float:
    """From 1 at the far end to 0.5 at the limit, alike for every kind."""
    return round(1 - 0.5 * min(max(share_of_limit, 0.0), 1.0), 3)
