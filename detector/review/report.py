"""What was found in a dataset, as lines to print and as the files of a report."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detector.core.escape import csv_cell, encodable, printable, some
from detector.core.files import write_text
from detector.data.labels.exclusion import REASONS, Suspicion, list_of
from detector.data.labels.pages import KINDS, Page, Split
from detector.data.page.images import write_png
from detector.review.contact_sheet import MOST, SHEETS, draw_sheets
from detector.review.look import Look
from detector.review.statistics_picture import draw_statistics

_STEM = "suspicious"
_LIST, _SHEET = f"{_STEM}.json", f"{_STEM}.png"
NEW_LIST = f"new_{_LIST}"


def report_lines(look: Look) -> Iterator[str]:
    """All that is printed of a split: notes, faults, doubts and statistics."""
    name = look.split.name
    if not look.annotated:
        yield f"{name}: no page has words; it can be predicted but not trained on or scored"
    for names, what in (
        (look.others, "left out, which are no images of a kind that is read"),
        (look.several, "with several pages each, of which the first counts"),
    ):
        if names:
            yield f"{name}: {len(names)} files {what}: {printable(some(names))}"
    if look.marks is not None:
        yield f"{name}: {look.marks}"
    yield from _fault_lines(look.split)
    yield from _suspicion_lines(name, look.suspicions)
    yield from _statistics_lines(name, look.stats)
    yield ""


def as_values(look: Look) -> dict[str, Any]:
    """What `report_lines` prints of a split, as plain values."""
    return {
        "annotated": look.annotated,
        "pages": len(look.split.pages),
        "faults": [asdict(fault) for fault in look.split.faults],
        "suspicious": [asdict(doubt) for doubt in look.suspicions],
        "no_images": look.others,
        "several_pages": look.several,
        "marks": look.marks,
        "statistics": look.stats,
    }


def write_report(
    folder: Path, looks: Sequence[Look], shared: Collection[str], longest_side_px: int | None
) -> list[Path]:
    """Write the report's files and return them; `shared` are names that several splits have.

    A list of words that is there may be reviewed and is kept; the new one is written beside it.
    """
    names = ["faults.csv", "stats.json", _LIST, "statistics.png"]
    faults, stats, listed, pictures = (folder / name for name in names)
    write_text(faults, encodable(faults_csv([look.split for look in looks])))
    numbers = {look.split.name: look.stats for look in looks}
    write_text(stats, encodable(json.dumps(numbers, indent=2, ensure_ascii=False)))
    suspicions = {look.split.name: look.suspicions for look in looks}
    content = encodable(json.dumps(list_of(suspicions, shared), indent=2, ensure_ascii=False))
    if listed.exists() and listed.read_bytes() != content.encode():
        listed = folder / NEW_LIST
    write_text(listed, content)
    sheets = _write_sheets(folder, list(_doubted(looks)))
    pages = {look.split.name: look.split.pages for look in looks}
    draw_statistics(pictures, pages, longest_side_px)
    return [faults, stats, listed, *sheets, pictures]


def _write_sheets(folder: Path, doubted: Sequence[tuple[Page, Suspicion]]) -> list[Path]:
    """The words as pictures, in place of those that an earlier report has left."""
    written = []
    for number, sheet in enumerate(draw_sheets(doubted), 1):
        written.append(folder / (_SHEET if number == 1 else f"{_STEM}_{number}.png"))
        write_png(written[-1], sheet)
    for number in range(len(written) + 1, SHEETS + 1):
        (folder / f"{_STEM}_{number}.png").unlink(missing_ok=True)
    return written


def _doubted(looks: Sequence[Look]) -> Iterator[tuple[Page, Suspicion]]:
    for look in looks:
        pages = {page.name: page for page in look.split.pages}
        yield from ((pages[doubt.page], doubt) for doubt in look.suspicions)


def _suspicion_lines(name: str, suspicions: Sequence[Suspicion]) -> Iterator[str]:
    """A heading, then the number of doubts of each kind."""
    shown = MOST * SHEETS
    more = f"; pictures show the {shown} highest scores" if len(suspicions) > shown else ""
    yield f"{name}: {len(suspicions)} suspicious words{more}"
    for kind, count in Counter(s.kind for s in suspicions).most_common():
        yield f"  {count:>8}  {kind} ({REASONS[kind]})"


def _fault_lines(split: Split) -> Iterator[str]:
    """A heading, then one line a fault: file, word, kind, message, grouped by file."""
    kinds = Counter(f.kind for f in split.faults)
    yield f"{split.name}: {len(split.faults)} faults"
    for f in split.faults:
        yield "  " + "  ".join(map(printable, (f.file, f.word or "-", f.kind, f.message)))
    for kind, count in kinds.most_common():
        yield f"  {count:>8}  {kind} ({KINDS[kind]})"


def _statistics_lines(name: str, stats: Mapping[str, Any]) -> Iterator[str]:
    """The statistics of `describe`, one line each."""
    yield f"{name}: statistics"
    width = max(map(len, stats))
    for key, value in stats.items():
        if isinstance(value, dict):
            shown = ", ".join(f"{printable(str(k))} {_number(v)}" for k, v in value.items())
            value = shown or "none"
        yield f"  {key:<{width}}  {'none' if value is None else value}"


def faults_csv(splits: Sequence[Split]) -> str:
    """All faults as CSV with a header; cells that a spreadsheet would run start with `'`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["split", "file", "word", "kind", "message"])
    for split in splits:
        for f in split.faults:
            cells = split.name, f.file, f.word or "", f.kind, f.message
            writer.writerow(map(csv_cell, cells))
    return buffer.getvalue()


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
