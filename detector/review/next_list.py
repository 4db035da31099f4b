"""The pages to label next as a list, and the words found on them as a start for their labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from detector.core.errors import JobError
from detector.core.escape import csv_cell, encodable, printable
from detector.core.files import write_text
from detector.inference.detector import Detector
from detector.inference.prediction import Predicted, image_maps
from detector.inference.submission import write_json
from detector.review.next_pages import Choice, candidate_of, choose

LIST, BOXES = "next_pages.csv", "next_pages.json"


@dataclass(frozen=True)
class Found:
    """Pages to label, the best first, with the words found on them; of so many, some skipped."""

    choices: list[Choice]
    words: Predicted
    pages: int
    skipped: list[str]


def choose_pages(detector: Detector, paths: dict[str, Path], count: int) -> Found:
    """The `count` pages of all that teach most; JobError where none can be read."""
    candidates, words = [], {}
    skipped: list[str] = []
    for page_map in image_maps(detector, paths, skipped):
        candidates.append(candidate_of(page_map))
        words[page_map.name] = detector.locate(page_map), page_map.size
    if not candidates:
        raise JobError("no image could be read; see the lines above")
    choices = choose(candidates, count)
    chosen = {choice.name: words[choice.name] for choice in choices}
    return Found(choices, chosen, len(candidates), skipped)


def lines_of(found: Found) -> Iterator[str]:
    """All that is printed."""
    yield f"{len(found.choices)} of {found.pages} pages to label next, the most doubtful first"
    yield f"{'doubt':>7}{'like':>7}{'regions':>9}  page"
    for choice in found.choices:
        figures = f"{choice.doubt:>7.3f}{choice.likeness:>7.2f}{choice.regions:>9}"
        yield f"{figures}  {printable(choice.name)}"


def write_choice(folder: Path, found: Found) -> list[Path]:
    """Write the list as CSV, and the words found as `detector.predict` does."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["rank", "page", "doubt", "likeness", "regions"])
    for rank, choice in enumerate(found.choices, start=1):
        figures = f"{choice.doubt:.4f}", f"{choice.likeness:.4f}", choice.regions
        writer.writerow([rank, csv_cell(encodable(choice.name)), *figures])
    write_text(folder / LIST, buffer.getvalue())
    write_json(folder / BOXES, found.words)
    return [folder / LIST, folder / BOXES]
