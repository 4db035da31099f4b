"""ICDAR 2015 and SROIE: a text file an image, `x1,y1,...,x4,y4,text` a line, also longer outlines.

All after the last coordinate is the text, with its commas and quote signs; `###` is don't-care.
CVAT puts the texts of such lines in double quotes, all of them; then those are taken off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from detector.core.escape import encodable
from detector.core.geometry import canonical_order
from detector.data.formats.text.icdar_mlt import SCRIPTS
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.number_lines import (
    begins_with_numbers,
    is_dont_care,
    is_outline,
    leading_numbers,
    mostly,
    page_of,
    text_after,
)
from detector.data.raw.shapes import pairs
from detector.data.raw.written import beside, leave_out, text_where_dont_care_is_text

SUFFIXES = (".txt", ".csv")
FOLDER = True
# `12,000` and `1,050.00`: nobody writes a coordinate with a zero before it.
_AMOUNT = re.compile(r"\s*[0-9]{1,3}(?:,[0-9]{3})*,0[0-9]{2}(?:,[0-9]{3})*(?:\.[0-9]*)?\s*")


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    return mostly(file, lambda line: begins_with_numbers(line, 8))


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words.

    Numbers after the eighth may be more corners or a text (`1,234.00`). A file whose lines all
    begin with ten numbers or more is of one kind, that of most of its lines; else each line is
    of its own, and two numbers are an amount where other lines have texts. An outline has the
    longest even number of leading numbers.
    """
    page = page_of(file)
    _add(page, [line for _, line in file.lines])
    yield page


def write(pages: Sequence[Labelled], output: Path, root: Path) -> Iterator[tuple[Path, str]]:  # noqa: ARG001
    """A file an image, with four corners a word, since other programs read no more."""
    for page in pages:
        leave_out(page, "language", "orientation")
        words = [(_corners(page, word), _text(page, word)) for word in page.words.values()]
        lines = "".join(f"{line}\n" for line in _lines(page, words))
        yield beside(page, output, "gt_{}.txt"), encodable(lines)


def _lines(page: Labelled, words: Sequence[tuple[Any, str]]) -> list[str]:
    """Lines that are read as these corners and texts, which takes quotes where the texts begin
    with numbers or a script's name, or are all in quotes themselves."""
    for quote in ("", '"'):
        lines = []
        for points, text in words:
            numbers = ",".join(f"{value:.10g}" for point in points for value in point)
            bare = not text or is_dont_care(text)
            lines.append(f"{numbers},{text if bare else quote + text + quote}")
        back = Labelled(page.image)
        _add(back, lines)
        found = [(word["points"], word["transcription"] or "") for word in back.words.values()]
        if found == words and (quote or not any(_names_script(text) for _, text in words)):
            return lines
    page.left_out["text that cannot be told from its quotes"] += 1
    return lines


def _corners(page: Labelled, word: dict[str, Any]) -> Any:
    """Four corners: of an outline with more those of the smallest box around it."""
    points = word["points"]
    if len(points) == 4:
        return points
    page.left_out["outline of more than four corners, whose box is written"] += 1
    box = shapely.Polygon(points).minimum_rotated_rectangle
    corners = canonical_order(shapely.get_coordinates(box)[:4].astype(np.float32))
    return [[round(float(value), 3) for value in corner] for corner in corners]


def _text(page: Labelled, word: dict[str, Any]) -> str:
    text = text_where_dont_care_is_text(page, word, _is_marked(word["transcription"]))
    line = re.sub(r"[\r\n]+", " ", text)
    page.left_out.update({"line break in a text": 1} if line != text else {})
    return line


def _add(page: Labelled, lines: Sequence[str]) -> None:
    rows = [(line, leading_numbers(line)) for line in lines]
    have_texts = any(len(n) in (8, 9) and text_after(line, len(n)) for line, n in rows)
    outlines = [
        len(numbers) >= 10
        and not (have_texts and _ends_in_amount(line, numbers))
        and not _AMOUNT.fullmatch(line.split(",", 8)[8])
        and is_outline(numbers)
        for line, numbers in rows
    ]
    if all(len(numbers) >= 10 for _, numbers in rows):
        outlines = [2 * sum(outlines) > len(rows)] * len(rows)
    coordinates = [
        numbers[: len(numbers) // 2 * 2 if outline or len(numbers) < 8 else 8]
        for (_, numbers), outline in zip(rows, outlines, strict=True)
    ]
    texts = [text_after(line, len(n)) for (line, _), n in zip(rows, coordinates, strict=True)]
    if _all_quoted(texts):
        texts = [text and text.strip().removeprefix('"').removesuffix('"') for text in texts]
    for own, text in zip(coordinates, texts, strict=True):
        page.add(pairs(own), text, ignore=_is_marked(text))


def _is_marked(text: str | None) -> bool:
    """Whether a text is `###`, also behind one field, as in lines with a script or a confidence."""
    return is_dont_care(text) or is_dont_care(text and text.partition(",")[2])


def _ends_in_amount(line: str, numbers: list[float]) -> bool:
    """Whether all after four corners is `1,234`, which is likelier than a fifth without a text."""
    return len(numbers) == 10 and text_after(line, 10) is None


def _all_quoted(texts: list[str | None]) -> bool:
    """Whether two texts or more are in double quotes, and none but `###` is without.

    One is enough where the quotes keep what it begins with from being coordinates or a script.
    """
    bare = [text.strip() for text in texts if text and not is_dont_care(text)]
    inner = bare[0].strip('"') if bare else ""
    enough = len(bare) >= 2 or leading_numbers(inner) or _names_script(inner)
    return bool(bare and enough) and all(len(t) >= 2 and t[0] == t[-1] == '"' for t in bare)


def _names_script(text: str) -> bool:
    """Whether a text begins as that after a script does in lines of ICDAR MLT."""
    name, comma, _ = text.partition(",")
    return bool(comma) and name.strip().lower() in SCRIPTS
