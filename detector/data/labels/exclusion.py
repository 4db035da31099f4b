"""The reviewed list of words to leave out: `{"images": {PAGE: {WORD: {"kind", ...}}}}` as JSON."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.core.geometry import Points, polygon_area
from detector.core.plain import JSON_BYTES, parse_json, read_bounded
from detector.data.labels.pages import Fault, Page, Word, fault

#: Kinds under which nothing is to be found, so that the word is dropped. Under all others there
#: may be text, which must not be learnt as "not a word": those words become don't-care.
DROPPED = frozenset({"blank", "duplicate"})

_SHAPE = '{"images": {"name.jpg": {"0001": {"kind": "blank"}}}}'
_NAMED = 12  # unknown names in one message


@dataclass(frozen=True, eq=False)
class Listed:
    """What the list says of a word; `points` only of one that is not annotated."""

    kind: str
    points: Points | None = None


class ExclusionList:
    """Entries by page and word. A key "SPLIT/NAME" means that split only, "NAME" any."""

    def __init__(self, path: Path, images: Mapping[str, Mapping[str, Listed]]) -> None:
        self.path = path
        self._images = images

    def of(self, split: str, page: str) -> dict[str, Listed]:
        """Entry by word id for one page of a split."""
        return {**self._images.get(page, {}), **self._images.get(f"{split}/{page}", {})}

    def apply(self, split: str, page: Page) -> tuple[Page, list[Fault]]:
        """The page with the listed words dropped or made don't-care, a fault for each.

        Listed words with points of their own are added as don't-care.
        """
        entries = self.of(split, page.name)
        kept, faults = [], []

        def note(word: str, outcome: str) -> None:
            message = f"{entries[word].kind}, by {self.path.name}"
            faults.append(fault(page.name, word, outcome, message))

        for word in page.words:
            if word.id not in entries:
                kept.append(word)
            elif entries[word.id].kind in DROPPED:
                note(word.id, "excluded-by-list")
            else:
                note(word.id, "ignored-by-list")
                kept.append(replace(word, ignore=True))
        present = {word.id for word in page.words}
        for name, entry in entries.items():
            if entry.points is not None and name not in present:
                note(name, "added-by-list")
                kept.append(Word(name, entry.points, None, ignore=True))
        return replace(page, words=tuple(kept)), faults

    def check(
        self,
        split: str,
        annotated: Mapping[str, Collection[str]],
        elsewhere: Callable[[str], bool],
    ) -> None:
        """Raise InputError naming all listed pages and words that the dataset does not have.

        `annotated` has the word ids of every page of the split as its annotations give them;
        `elsewhere` tells whether another split has a page, which the list may be about too.
        """
        unknown = []
        for key, words in self._images.items():
            own, slash, name = key.rpartition("/")
            if slash and own != split:
                continue
            if name in annotated:
                unknown += [
                    f"{key} word {word}"
                    for word, entry in words.items()
                    if entry.points is None and word not in annotated[name]
                ]
            elif slash or not elsewhere(name):
                unknown.append(key)
        if unknown:
            more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
            raise InputError(
                f"{self.path}: names {len(unknown)} pages or words that the dataset does not have: "
                f"{', '.join(unknown[:_NAMED])}{more}; remove them from the list or run "
                "`python -m detector.inspect` on this dataset again"
            )


def read_exclusions(path: Path) -> ExclusionList:
    """The list in a file; InputError when it cannot be read or is not of the list's shape."""
    try:
        text = read_bounded(path, JSON_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check data.exclude") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason}; save it as UTF-8") from None
    content = parse_json(text, str(path))
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, dict) or not all(isinstance(v, dict) for v in images.values()):
        raise InputError(f"{path}: must be an object {_SHAPE}")
    return ExclusionList(
        path,
        {
            page: {word: _listed(path, page, word, value) for word, value in words.items()}
            for page, words in images.items()
        },
    )


def list_of(
    suspicions: Mapping[str, Iterable[Suspicion]], shared: Collection[str] = ()
) -> dict[str, Any]:
    """The list to review, ready for JSON, from the suspicions of every split.

    Pages whose name is among `shared`, those of several splits, are written as "SPLIT/NAME".
    """
    images: dict[str, dict[str, Any]] = {}
    for split, found in suspicions.items():
        for s in found:
            key = f"{split}/{s.page}" if s.page in shared else s.page
            images.setdefault(key, {})[s.word] = {
                "kind": s.kind,
                "score": s.score,
                "reason": s.reason,
            } | ({} if s.points is None else {"points": s.points})
    return {"images": images}


def _listed(path: Path, page: str, word: str, value: Any) -> Listed:
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in REASONS:
        raise InputError(
            f"{path}: {page}, word {word}: kind must be one of {', '.join(REASONS)}, "
            f"got {shown(kind)}"
        )
    if "points" not in value:
        return Listed(kind)
    try:
        points = np.array(value["points"], np.float32)
        usable = points.ndim == 2 and points.shape[1] == 2 and len(points) >= 4
        usable = usable and bool(np.isfinite(points).all()) and polygon_area(points) > 0
    except (TypeError, ValueError, OverflowError):
        usable = False
    if not usable:
        raise InputError(
            f"{path}: {page}, word {word}: points must be four or more [x, y] around an area, "
            f"got {shown(value['points'])}"
        )
    return Listed(kind, points)


#: Every kind of doubt and what it says.
REASONS: dict[str, str] = {
    "blank": "no ink inside",
    "duplicate": "nearly the same outline as another word",
    "off-paper": "outside the receipt",
    "swapped-vertices": "corners out of order",
    "self-crossing": "outline crosses itself beyond repair",
    "tiny": "too thin to be read at training scale",
    "watermark": "far larger and paler than the page's words",
    "model-disagrees": "the model sees no word in it, or one where none is",
    "other": "put on the list by hand",
}


@dataclass(frozen=True)
class Suspicion:
    """A doubt about one word: `kind` of `REASONS`, `score` from 0.5 (at the limit) to 1.

    `points`, xy in source pixels, are given where no word is annotated but one should be.
    """

    page: str
    word: str
    kind: str
    score: float
    reason: str
    points: tuple[tuple[float, float], ...] | None = None
