"""`python -m detector.inspect data.root=DIR`: every annotation fault, then statistics.

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

from pydantic import Field

from detector.cli import log, run
from detector.config import Section
from detector.data.annotations import list_splits, read_image, scan_split
from detector.data.pages import KINDS, Split, fault
from detector.data.statistics import describe
from detector.errors import InputError
from detector.files import write_text


class InspectData(Section):
    root: Path | None = Field(None, description="dataset folder (images/ and jsons/ inside)")
    split: str = Field("all", min_length=1, description="one split, or all that exist")
    longest_side_px: int = Field(
        1024, ge=64, le=8192, description="word heights are also given at this page size"
    )


class InspectConfig(Section):
    data: InspectData = InspectData()
    output: Path | None = Field(None, description="folder for faults.csv and stats.json")
    strict: bool = Field(False, description="exit with 1 when there is any fault")


def main(config: InspectConfig) -> int:
    """Print faults and statistics of the chosen splits; 1 in strict mode with faults, else 0."""
    root = config.data.root
    if root is None:
        raise InputError("data.root: is required, for example data.root=data/receipts")
    if config.output is not None and config.output.exists() and not config.output.is_dir():
        raise InputError(f"output: {config.output} is a file; give a folder")
    existing = list_splits(root)
    if not existing:
        raise InputError(f"{root / 'images'}: has no split folder such as images/train")
    names = existing if config.data.split == "all" else [config.data.split]
    splits, stats = [], {}
    for name in names:
        split = _decode(_scan(root, name))
        splits.append(split)
        stats[name] = describe(split.pages, split.faults, config.data.longest_side_px)
        for line in [*fault_lines(split), *statistics_lines(name, stats[name]), ""]:
            print(line)
    if config.output is not None:
        write_text(config.output / "faults.csv", _encodable(faults_csv(splits)))
        numbers = json.dumps(stats, indent=2, ensure_ascii=False)
        write_text(config.output / "stats.json", _encodable(numbers))
        print(f"written: {config.output / 'faults.csv'}, {config.output / 'stats.json'}")
    return int(config.strict and any(split.faults for split in splits))


def _scan(root: Path, name: str) -> Split:
    """The split as a training would read it, or as unlabelled when no page has words."""
    annotated = (root / "jsons" / f"{name}.json").exists() or (root / "labels" / name).is_dir()
    split = scan_split(root, name, labelled=annotated)
    if annotated and not split.pages and any(f.kind == "unlabelled" for f in split.faults):
        annotated, split = False, scan_split(root, name, labelled=False)
    if not annotated:
        print(f"{name}: no page has words; it can be predicted but not trained on or scored")
    return split


def _decode(split: Split) -> Split:
    """The split without the pages whose pixels cannot be read, each of them a fault."""
    pages, faults = [], list(split.faults)
    for number, page in enumerate(split.pages, 1):
        try:
            read_image(page.path)
            pages.append(page)
        except InputError as error:
            faults.append(fault(page.name, None, "truncated-image", str(error)))
        if number % 500 == 0:
            log(f"{split.name}: {number} of {len(split.pages)} images read")
    faults.sort(key=lambda f: (f.file, f.word or ""))
    return replace(split, pages=tuple(pages), faults=tuple(faults))


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
        description="Report every annotation fault by file and word, then statistics. "
        "Exit code 0, or 1 with strict=true when there are faults.",
    )
