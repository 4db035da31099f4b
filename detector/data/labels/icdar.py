"""ICDAR annotations: one text file a page, one word a line, `x1,y1,...,x4,y4,text`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from detector.core.errors import InputError
from detector.core.plain import read_bounded
from detector.data.labels.pages import Entry, Fault, fault

# Coordinates that are not finite are read too: the others of the line still say where text is.
_NUMBER = re.compile(
    r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?|nan|inf(inity)?)", re.ASCII | re.IGNORECASE
)
# So many numbers after a quadrilateral are hardly its text.
_SUSPICIOUS = 16
_MOST_BYTES = 16 * 2**20  # of the words of one page


def read_labels(folder: Path, images: Sequence[Path]) -> tuple[list[Entry], list[Fault]]:
    """Every page of `labels/{split}/` as annotated, with the faults seen so far.

    `gt_NAME.txt` or `NAME.txt` (suffix in any case) belongs to the image `NAME.*`. Files
    are UTF-8, with or without a byte order mark; an empty file is a page without text. Word
    ids are line numbers (`0001`).

    Numeric texts (`9.00`, `1,234`) make the end of the coordinates ambiguous, so the whole
    split decides: words are quadrilaterals and the text starts at the ninth field, unless
    every line of the split starts with ten numbers or more; then each line is an outline of
    the longest even number of leading numbers. Raises InputError when a file cannot be read.
    """
    labels = _label_files(folder)
    found = {
        image.name: labels.get(f"gt_{image.stem}", []) + labels.get(image.stem, [])
        for image in images
    }
    users = defaultdict(list)
    for name, paths in found.items():
        for path in paths:
            users[path].append(name)
    faults = [
        fault(path.name, None, "no-image", "no image has the name of this label file")
        for path in sorted(set(chain.from_iterable(labels.values())) - set(users))
    ]
    entries = []
    lines: dict[str, list[tuple[int, str]]] = {}
    for name, paths in found.items():
        if not paths:
            continue
        problem = _ambiguity(paths, users[paths[0]])
        try:
            if problem is None:
                lines[name] = _lines(paths[0])
                continue
        except UnicodeDecodeError:
            problem = ("bad-encoding", f"{paths[0].name} is not UTF-8; save it as UTF-8")
        entries.append(Entry(name, None, usable=False))
        faults.append(fault(name, None, *problem))
    outlines = _all_outlines(text for page in lines.values() for _, text in page)
    for name, page in lines.items():
        words, found_faults = _words(name, page, outlines)
        entries.append(Entry(name, words))
        faults += found_faults
    return entries, faults


def _label_files(folder: Path) -> dict[str, list[Path]]:
    """Label files by name without suffix (`.txt` in any case, so there may be two)."""
    labels = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".txt" and not path.name.startswith("."):
            labels[path.stem].append(path)
    return labels


def _ambiguity(paths: list[Path], users: list[str]) -> tuple[str, str] | None:
    """The fault of an image whose label file is not certain, or None."""
    if len(paths) > 1:
        return "two-labels", f"{' and '.join(p.name for p in paths)} exist; keep one"
    if len(users) > 1:
        return "shared-label", f"{paths[0].name} fits {', '.join(users)}; rename one of them"
    return None


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines that are not blank; UnicodeDecodeError when not UTF-8."""
    try:
        text = read_bounded(path, _MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _leading_numbers(line: str) -> list[str]:
    numbers = []
    for field in line.split(","):
        if not _NUMBER.fullmatch(field.strip()):
            break
        numbers.append(field.strip())
    return numbers


def _all_outlines(lines: Iterable[str]) -> bool:
    """Whether every line starts with ten numbers or more (and there is one)."""
    counts = [len(_leading_numbers(line)) for line in lines]
    return bool(counts) and min(counts) >= 10


def _words(
    name: str, lines: list[tuple[int, str]], outlines: bool
) -> tuple[dict[str, Any], list[Fault]]:
    """A page's lines as the competition's word objects."""
    words: dict[str, Any] = {}
    faults = []
    for number, line in lines:
        key = f"{number:04d}"
        numbers = _leading_numbers(line)
        count = len(numbers) // 2 * 2 if outlines else min(8, len(numbers) // 2 * 2)
        if not outlines and len(numbers) >= _SUSPICIOUS:
            message = f"{len(numbers)} numbers lead the line, those after the eighth are its text"
            faults.append(fault(name, key, "many-numbers", message))
        values = [float(n) for n in numbers[:count]]
        text = ",".join(line.split(",")[count:]).strip()
        points = [list(pair) for pair in zip(values[::2], values[1::2], strict=True)]
        words[key] = {"points": points, "transcription": text or None}
    return words, faults
