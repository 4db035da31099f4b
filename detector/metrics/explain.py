"""What CLEval counted on one page, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from detector.metrics.cleval import PageCounts, PageMatch

Kind = Literal["matched", "split", "merged", "false", "forgiven"]


def detection_kinds(match: PageMatch) -> list[Kind]:
    """How each detection was counted, in the order given.

    One on several words is "merged" even if one of those words has further detections.
    """
    pairs = match.matched()
    crowded = pairs.sum(axis=1) > 1
    kinds: list[Kind] = []
    for forgiven, words in zip(match.forgiven.tolist(), pairs.T, strict=True):
        if forgiven:
            kinds.append("forgiven")
        elif not words.any():
            kinds.append("false")
        elif words.sum() > 1:
            kinds.append("merged")
        else:
            kinds.append("split" if crowded[words].any() else "matched")
    return kinds


def explain(match: PageMatch) -> list[str]:
    """A line for each word, each detection and each score, for people.

    Words and detections are numbered from 0, as in the lists given.
    """
    pairs = match.matched()
    words = match.words
    found, of = found_of(match)
    lines: dict[int, str] = {}
    for row, word in enumerate(words.kept.tolist()):
        if words.ignored[row]:
            lines[word] = f"word {word}: ignored"
        elif not (by := np.flatnonzero(pairs[row]).tolist()):
            lines[word] = f"word {word}: missed, 0 of {of[row]} characters"
        else:
            lines[word] = (
                f"word {word}: {found[row]} of {of[row]} characters, by {_listed('detection', by)}"
            )
            if len(by) > 1:
                lines[word] += f"; {len(by)} parts cost {len(by) - 1}"
    total = len(words.kept) + words.excluded
    for word in set(range(total)) - set(words.kept.tolist()):
        lines[word] = f"word {word}: left out, its outline describes no area"
    return [
        *(lines[word] for word in sorted(lines)),
        *_detection_lines(match),
        *score_lines(match.counts()[0]),
    ]


def found_of(match: PageMatch) -> tuple[list[int], list[int]]:
    """Characters found and characters there are, of each kept word."""
    words = match.words
    found = np.bincount(words.owner[match.found()], minlength=len(words.kept))
    return found.tolist(), words.characters.tolist()


def _detection_lines(match: PageMatch) -> Iterator[str]:
    pairs = match.matched()
    for i, kind in enumerate(detection_kinds(match)):
        if kind == "forgiven":
            yield f"detection {i}: forgiven, it lies on ignored words"
        elif kind == "false":
            cost = match.false_characters[i]
            yield f"detection {i}: false positive, costs {_number(cost, 'character')}"
        else:
            on = match.words.kept[pairs[:, i]].tolist()
            cost = f"; {len(on)} words cost {len(on) - 1}" if len(on) > 1 else ""
            yield f"detection {i}: on {_listed('word', on)}{cost}"


def score_lines(counts: PageCounts) -> list[str]:
    """Recall, precision and H-mean with the counts they come from."""
    recall, precision, hmean = counts.scores()
    return [
        f"recall = ({counts.found} found - {counts.split} split) / {counts.truth} = {recall:.4f}",
        f"precision = ({counts.found} found - {counts.merged} merged) / "
        f"({counts.detected - counts.false} in detections + {counts.false} false) "
        f"= {precision:.4f}",
        f"H-mean = {hmean:.4f}",
    ]


def _listed(noun: str, numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"{noun} {numbers[0]}"
    return f"{noun}s {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
