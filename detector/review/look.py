"""A split looked at page by page: faults, doubts and statistics of what a training would read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.config.cli import log
from detector.core.errors import InputError
from detector.data.labels.annotations import scan_split
from detector.data.labels.exclusion import Suspicion
from detector.data.labels.layout import layout_of
from detector.data.labels.pages import AS_FOUND, LabelRules, Page, Split, fault
from detector.data.labels.source import is_annotated
from detector.data.labels.trained import marks_of_others
from detector.data.page.images import frames, left_out, read_image
from detector.review.cleaning import outline_doubts, suspicious_words
from detector.review.statistics import describe

_BY_LIST = ("excluded-by-list", "ignored-by-list")
Judge = Callable[[Page, NDArray[np.uint8]], list[Suspicion]]


@dataclass(frozen=True)
class Look:
    """A split with only the pages whose pixels can be read, and what was found there.

    annotated: whether any page has words.
    suspicions: highest score first.
    others: files of the split's folder that are no images.
    several: files with several pages, of which the first counts.
    marks: what is to be said of texts that may be don't-care.
    """

    split: Split
    annotated: bool
    stats: dict[str, Any]
    suspicions: list[Suspicion]
    others: list[str]
    several: list[str]
    marks: str | None = None


def look_at(
    root: Path,
    name: str,
    longest_side_px: int | None,
    judges: Sequence[Judge],
    exclude: Path | None,
    rules: LabelRules = AS_FOUND,
) -> Look:
    """Read every page of a split; one whose pixels cannot be read is a fault."""
    split, annotated = _scan(root, name, exclude, rules)
    pages, faults = [], list(split.faults)
    listed = {(f.file, f.word) for f in faults if f.kind in _BY_LIST}
    found = [s for s in outline_doubts(faults) if (s.page, s.word) not in listed]
    for number, page in enumerate(split.pages, 1):
        try:
            image = read_image(page.path)
        except InputError as error:
            faults.append(fault(page.name, None, "truncated-image", str(error)))
            continue
        pages.append(page)
        found += suspicious_words(page, image, longest_side_px)
        for judge in judges:
            found += judge(page, image)
        if number % 500 == 0:
            log(f"{split.name}: {number} of {len(split.pages)} images read")
    faults.sort(key=lambda f: (f.file, f.word or ""))
    return Look(
        replace(split, pages=tuple(pages), faults=tuple(faults)),
        annotated,
        describe(pages, faults, longest_side_px),
        _once_a_word(found, {page.name for page in pages}),
        left_out(root / "images" / name) if (root / "images" / name).is_dir() else [],
        [page.name for page in pages if frames(page.path) > 1],
        marks_of_others(split, rules.dont_care),
    )


def _once_a_word(found: Sequence[Suspicion], usable: set[str]) -> list[Suspicion]:
    """The first doubt of each word on usable pages, highest score first."""
    first: dict[tuple[str, str], Suspicion] = {}
    for doubt in found:
        if doubt.page in usable:
            first.setdefault((doubt.page, doubt.word), doubt)
    return sorted(first.values(), key=lambda doubt: -doubt.score)


def _scan(root: Path, name: str, exclude: Path | None, rules: LabelRules) -> tuple[Split, bool]:
    """The split as a training would read it, or as unlabelled when no page has words."""
    annotated = is_annotated(root, name)
    split = scan_split(root, name, labelled=annotated, exclude=exclude, rules=rules)
    if annotated and not split.pages and any(f.kind == "unlabelled" for f in split.faults):
        annotated, split = False, scan_split(root, name, labelled=False, rules=rules)
    return split, annotated


def shared_names(root: Path) -> set[str]:
    """Names of pages that several splits have."""
    layout = layout_of(root)
    counts = Counter(map(layout.name_of, layout.images))
    return {name for name, count in counts.items() if count > 1}
