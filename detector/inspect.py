"""`python -m detector.inspect data.root=DIR`: every annotation fault, doubts, then statistics.

Reads all images completely, so truncated ones show here and not in the middle of a training.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from detector.config.cli import log, run
from detector.config.sections import Section
from detector.core.errors import InputError
from detector.core.escape import csv_cell, encodable, printable
from detector.core.files import write_text
from detector.data.labels.annotations import list_images, list_splits, read_image, scan_split
from detector.data.labels.exclusion import REASONS, Suspicion, list_of
from detector.data.labels.pages import KINDS, Page, Split, fault
from detector.data.page.images import write_png
from detector.review.cleaning import outline_doubts, suspicious_words
from detector.review.contact_sheet import draw_sheet
from detector.review.statistics import describe
from detector.review.statistics_picture import draw_statistics

_LIST = "suspicious.json"
_BY_LIST = ("excluded-by-list", "ignored-by-list")
_Judge = Callable[[Page, NDArray[np.uint8]], list[Suspicion]]


class InspectData(Section):
    root: Path | None = Field(None, description="dataset folder (images/ and jsons/ inside)")
    split: str = Field("all", min_length=1, description="one split, or all that exist")
    longest_side_px: int | None = Field(
        None,
        ge=64,
        le=8192,
        description="word heights are also given at this page size; null = at that of a training",
    )
    exclude: Path | None = Field(None, description="reviewed list of words to leave out, JSON")


class InspectConfig(Section):
    data: InspectData = InspectData()
    output: Path | None = Field(
        None, description="folder for faults.csv, stats.json, suspicious.json and pictures"
    )
    checkpoint: Path | None = Field(
        None, description="trained model (a best/ folder) whose disagreement is listed too"
    )
    strict: bool = Field(False, description="exit with 1 when there is any fault")


def main(config: InspectConfig) -> int:
    """Print faults, doubts and statistics; 1 in strict mode with faults, else 0."""
    root = config.data.root
    if root is None:
        raise InputError("data.root: is required, for example data.root=data/receipts")
    if config.output is not None and config.output.exists() and not config.output.is_dir():
        raise InputError(f"output: {config.output} is a file; give a folder")
    existing = list_splits(root)
    if not existing:
        raise InputError(f"{root / 'images'}: has no split folder such as images/train")
    names = existing if config.data.split == "all" else [config.data.split]
    judge = _judge(config.checkpoint)
    looks = []
    for name in names:
        split = _scan(root, name, config.data.exclude)
        look = _look(split, config.data.longest_side_px, judge)
        looks.append(look)
        lines = [*fault_lines(look.split), *suspicion_lines(name, look.suspicions)]
        for line in [*lines, *statistics_lines(name, look.stats), ""]:
            print(line)
    if config.output is not None:
        shared = _shared(root, existing)
        for path in _write(config.output, looks, shared, config.data.longest_side_px):
            print(f"written: {path}")
    return int(config.strict and any(look.split.faults for look in looks))


def _scan(root: Path, name: str, exclude: Path | None) -> Split:
    """The split as a training would read it, or as unlabelled when no page has words."""
    annotated = (root / "jsons" / f"{name}.json").exists() or (root / "labels" / name).is_dir()
    split = scan_split(root, name, labelled=annotated, exclude=exclude)
    if annotated and not split.pages and any(f.kind == "unlabelled" for f in split.faults):
        annotated, split = False, scan_split(root, name, labelled=False)
    if not annotated:
        print(f"{name}: no page has words; it can be predicted but not trained on or scored")
    return split


@dataclass(frozen=True)
class _Look:
    """A split with only the pages whose pixels can be read, and what was found there."""

    split: Split
    stats: dict[str, Any]
    suspicions: list[Suspicion]  # highest score first


def _judge(checkpoint: Path | None) -> _Judge:
    if checkpoint is None:
        return lambda _page, _image: []
    from detector.review.disagreement import load_judge  # PyTorch takes seconds to import

    return load_judge(checkpoint)


def _look(split: Split, longest_side_px: int | None, judge: _Judge) -> _Look:
    """Read every page; one whose pixels cannot be read is a fault. A word is doubted once."""
    pages, faults = [], list(split.faults)
    listed = {(f.file, f.word) for f in faults if f.kind in _BY_LIST}
    found = [s for s in outline_doubts(faults) if (s.page, s.word) not in listed]
    taken = {(s.page, s.word) for s in found}
    for number, page in enumerate(split.pages, 1):
        try:
            image = read_image(page.path)
        except InputError as error:
            faults.append(fault(page.name, None, "truncated-image", str(error)))
            continue
        pages.append(page)
        for doubt in [*suspicious_words(page, image, longest_side_px), *judge(page, image)]:
            if (doubt.page, doubt.word) not in taken:
                taken.add((doubt.page, doubt.word))
                found.append(doubt)
        if number % 500 == 0:
            log(f"{split.name}: {number} of {len(split.pages)} images read")
    faults.sort(key=lambda f: (f.file, f.word or ""))
    usable = {page.name for page in pages}
    found = sorted((s for s in found if s.page in usable), key=lambda s: -s.score)
    stats = describe(pages, faults, longest_side_px)
    return _Look(replace(split, pages=tuple(pages), faults=tuple(faults)), stats, found)


def _shared(root: Path, splits: Sequence[str]) -> set[str]:
    """Names of images that several splits have."""
    counts = Counter(path.name for name in splits for path in list_images(root / "images" / name))
    return {name for name, count in counts.items() if count > 1}


def _write(
    folder: Path, looks: Sequence[_Look], shared: Collection[str], longest_side_px: int | None
) -> list[Path]:
    """Write the report's files. A list of words that is there may be reviewed, and is kept."""
    names = ["faults.csv", "stats.json", _LIST, "suspicious.png", "statistics.png"]
    faults, stats, listed, sheet, pictures = (folder / name for name in names)
    write_text(faults, encodable(faults_csv([look.split for look in looks])))
    numbers = {look.split.name: look.stats for look in looks}
    write_text(stats, encodable(json.dumps(numbers, indent=2, ensure_ascii=False)))
    suspicions = {look.split.name: look.suspicions for look in looks}
    content = json.dumps(list_of(suspicions, shared), indent=2)
    if listed.exists() and listed.read_bytes() != content.encode():
        print(f"{listed} is kept, since it may be reviewed; the new list is beside it")
        listed = folder / f"new_{_LIST}"
    write_text(listed, content)
    write_png(sheet, _sheet(looks))
    pages = {look.split.name: look.split.pages for look in looks}
    draw_statistics(pictures, pages, longest_side_px)
    return [faults, stats, listed, sheet, pictures]


def _sheet(looks: Sequence[_Look]) -> NDArray[np.uint8]:
    pairs: list[tuple[Page, Suspicion]] = []
    for look in looks:
        pages = {page.name: page for page in look.split.pages}
        pairs += [(pages[s.page], s) for s in look.suspicions]
    return draw_sheet(pairs)


def suspicion_lines(name: str, suspicions: Sequence[Suspicion]) -> Iterator[str]:
    """A heading, then the number of doubts of each kind."""
    yield f"{name}: {len(suspicions)} suspicious words"
    for kind, count in Counter(s.kind for s in suspicions).most_common():
        yield f"  {count:>8}  {kind} ({REASONS[kind]})"


def fault_lines(split: Split) -> Iterator[str]:
    """A heading, then one line a fault: file, word, kind, message, grouped by file."""
    kinds = Counter(f.kind for f in split.faults)
    yield f"{split.name}: {len(split.faults)} faults"
    for f in split.faults:
        yield "  " + "  ".join(map(printable, (f.file, f.word or "-", f.kind, f.message)))
    for kind, count in kinds.most_common():
        yield f"  {count:>8}  {kind} ({KINDS[kind]})"


def statistics_lines(name: str, stats: dict[str, Any]) -> Iterator[str]:
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


if __name__ == "__main__":
    run(
        main,
        InspectConfig,
        program="python -m detector.inspect",
        description="Report annotation faults by file and word, suspicious words, statistics. "
        "Exit code 0, or 1 with strict=true when there are faults.",
    )
