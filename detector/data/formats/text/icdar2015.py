"""ICDAR 2015 and SROIE: a text file an image, `x1,y1,...,x4,y4,text` a line, also longer outlines.

All after the last coordinate is the text, with its commas and quote signs; `###` is don't-care.
CVAT puts the texts of such lines in double quotes, all of them; then those are taken off.
"""

from __future__ import annotations

from collections.abc import Iterator

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.number_lines import (
    is_dont_care,
    is_outline,
    leading_numbers,
    mostly,
    page_of,
    text_after,
)
from detector.data.raw.shapes import pairs

SUFFIXES = (".txt", ".csv")


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    return mostly(file, lambda line: len(leading_numbers(line)) >= 8)


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words.

    Numbers after the eighth may be more corners or a text (`1,234.00`). A file whose lines all
    begin with ten numbers or more is of one kind, that of most of its lines; else each line is
    of its own, and two numbers are an amount where other lines have texts. An outline has the
    longest even number of leading numbers.
    """
    page = page_of(file)
    rows = [(line, leading_numbers(line)) for _, line in file.lines]
    have_texts = any(len(n) in (8, 9) and text_after(line, len(n)) for line, n in rows)
    outlines = [
        is_outline(numbers) and not (have_texts and _ends_in_amount(line, numbers))
        for line, numbers in rows
    ]
    if all(len(numbers) >= 10 for _, numbers in rows):
        outlines = [2 * sum(outlines) > len(rows)] * len(rows)
    counts = [
        len(numbers) // 2 * 2 if outline else min(8, len(numbers) // 2 * 2)
        for (_, numbers), outline in zip(rows, outlines, strict=True)
    ]
    texts = [text_after(line, n) for (line, _), n in zip(rows, counts, strict=True)]
    if _all_quoted(texts):
        texts = [text and text.strip().removeprefix('"').removesuffix('"') for text in texts]
    for (_, numbers), count, text in zip(rows, counts, texts, strict=True):
        page.add(pairs(numbers[:count]), text, ignore=is_dont_care(text))
    yield page


def _ends_in_amount(line: str, numbers: list[float]) -> bool:
    """Whether all after four corners is `1,234`, which is likelier than a fifth without a text."""
    return len(numbers) == 10 and text_after(line, 10) is None


def _all_quoted(texts: list[str | None]) -> bool:
    """Whether two texts or more are in double quotes, and none but `###` is without."""
    bare = [text.strip() for text in texts if text and not is_dont_care(text)]
    return len(bare) >= 2 and all(len(t) >= 2 and t[0] == t[-1] == '"' for t in bare)
