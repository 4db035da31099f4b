"""`python -m detector.inspect data.root=DIR`: every annotation fault, doubts, then statistics.

Reads all images completely, so truncated ones show here and not in the middle of a training.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import Field

from detector.cli import log, run
from detector.config import Section
from detector.data.annotations import list_splits, read_image, scan_split
from detector.data.cleaning import REASONS, Suspicion, outline_doubts, suspicious_words
from detector.data.contact_sheet import draw_sheet
from detector.data.exclusion import list_of
from detector.data.pages import KINDS, Page, Split, fault
from detector.data.statistics import describe
from detector.data.statistics_picture import draw_statistics
from detector.errors import InputError
from detector.files import replacing, write_text

_LIST = "suspicious.json"


class InspectData(Section):
    root: Path | None = Field(None, description="dataset folder (images/ and jsons/ inside)")
    split: str = Field("all", min_length=1, description="one split, or all that exist")
    longest_side_px: int = Field(
        1024, ge=64, le=8192, description="word heights are also given at this page size"
    )
    exclude: Path | None = Field(None, description="reviewed list of words to leave out, JSON")


class InspectConfig(Section):
    data: InspectData = InspectData()
    output: Path | None = Field(
        None, description="folder for faults.csv, stats.json, suspicious.json and pictures"
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
    splits: list[Split] = []
    stats: dict[str, Any] = {}
    suspicions: dict[str, list[Suspicion]] = {}
    for name in names:
        scanned = _scan(root, name, config.data.exclude)
        split, suspicions[name] = _look(scanned, config.data.longest_side_px)
        splits.append(split)
        stats[name] = describe(split.pages, split.faults, config.data.longest_side_px)
        lines = [*fault_lines(split), *suspicion_lines(name, suspicions[name])]
        for line in [*lines, *statistics_lines(name, stats[name]), ""]:
            print(line)
    if config.output is not None:
        _write(config.output, splits, stats, suspicions, config.data.longest_side_px)
    return int(config.strict and any(split.faults for split in splits))


def _scan(root: Path, name: str, exclude: Path | None) -> Split:
    """The split as a training would read it, or as unlabelled when no page has words."""
    annotated = (root / "jsons" / f"{name}.json").exists() or (root / "labels" / name).is_dir()
    split = scan_split(root, name, labelled=annotated, exclude=exclude)
    if annotated and not split.pages and any(f.kind == "unlabelled" for f in split.faults):
        annotated, split = False, scan_split(root, name, labelled=False)
    if not annotated:
        print(f"{name}: no page has words; it can be predicted but not trained on or scored")
    return split


def _look(split: Split, longest_side_px: int) -> tuple[Split, list[Suspicion]]:
    """The split without the pages whose pixels cannot be read, each of them a fault, and the
    suspicious words of the others, highest score first."""
    pages, faults = [], list(split.faults)
    listed = {(f.file, f.word) for f in faults if f.kind == "ignored-by-list"}
    found = [s for s in outline_doubts(faults) if (s.page, s.word) not in listed]
    taken = {(s.page, s.word) for s in found}
    for number, page in enumerate(split.pages, 1):
        try:
            image = read_image(page.path)
            pages.append(page)
            doubts = suspicious_words(page, image, longest_side_px)
            found += [s for s in doubts if (s.page, s.word) not in taken]
        except InputError as error:
            faults.append(fault(page.name, None, "truncated-image", str(error)))
        if number % 500 == 0:
            log(f"{split.name}: {number} of {len(split.pages)} images read")
    faults.sort(key=lambda f: (f.file, f.word or ""))
    usable = {page.name for page in pages}
    found = sorted((s for s in found if s.page in usable), key=lambda s: -s.score)
    return replace(split, pages=tuple(pages), faults=tuple(faults)), found


def _write(
    folder: Path,
    splits: Sequence[Split],
    stats: dict[str, Any],
    suspicions: dict[str, list[Suspicion]],
    longest_side_px: int,
) -> None:
    """All files of the report. A list of words that is there may be reviewed, and is kept."""
    write_text(folder / "faults.csv", _encodable(faults_csv(splits)))
    write_text(folder / "stats.json", _encodable(json.dumps(stats, indent=2, ensure_ascii=False)))
    listed = json.dumps(list_of(suspicions), indent=2)
    target = folder / _LIST
    if target.exists() and target.read_bytes() != listed.encode():
        target = folder / f"new_{_LIST}"
        print(f"{folder / _LIST} is kept, as it may be reviewed; the list of now is {target}")
    write_text(target, listed)
    _draw(folder / "suspicious.png", splits, suspicions)
    draw_statistics(folder / "statistics.png", {s.name: s.pages for s in splits}, longest_side_px)
    names = ["faults.csv", "stats.json", target.name, "suspicious.png", "statistics.png"]
    print(f"written: {', '.join(str(folder / name) for name in names)}")


def _draw(path: Path, splits: Sequence[Split], suspicions: dict[str, list[Suspicion]]) -> None:
    pairs: list[tuple[Page, Suspicion]] = []
    for split in splits:
        pages = {page.name: page for page in split.pages}
        pairs += [(pages[s.page], s) for s in suspicions[split.name]]
    sheet = draw_sheet(pairs)
    with replacing(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")


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
        yield "  " + "  ".join(map(_printable, (f.file, f.word or "-", f.kind, f.message)))
    for kind, count in kinds.most_common():
        yield f"  {count:>8}  {kind} ({KINDS[kind]})"


def statistics_lines(name: str, stats: dict[str, Any]) -> Iterator[str]:
    """The statistics of `describe`, one line each."""
    yield f"{name}: statistics"
    width = max(map(len, stats))
    for key, value in stats.items():
        if isinstance(value, dict):
            shown = ", ".join(f"{_printable(str(k))} {_number(v)}" for k, v in value.items())
            value = shown or "none"
        yield f"  {key:<{width}}  {'none' if value is None else value}"


def faults_csv(splits: Sequence[Split]) -> str:
    """All faults as CSV with a header; cells that a spreadsheet would run start with `'`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["split", "file", "word", "kind", "message"])
    for split in splits:
        for f in split.faults:
            writer.writerow(_cells([split.name, f.file, f.word or "", f.kind, f.message]))
    return buffer.getvalue()


def _cells(values: Iterable[str]) -> list[str]:
    return [f"'{v}" if v.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else v for v in values]


def _encodable(text: str) -> str:
    """File names that are not UTF-8 reach Python as lone surrogates, which no file can hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _printable(text: str) -> str:
    """Names come from files: control characters must not reach the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


if __name__ == "__main__":
    run(
        main,
        InspectConfig,
        program="python -m detector.inspect",
        description="Report annotation faults by file and word, suspicious words, statistics. "
        "Exit code 0, or 1 with strict=true when there are faults.",
    )
