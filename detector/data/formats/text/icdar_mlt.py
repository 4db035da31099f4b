"""ICDAR MLT 2017 and 2019: `x1,y1,...,x4,y4,script,text` a line, a text file an image.

All after the script is the text; `###` is don't-care, whatever the script.
"""

from __future__ import annotations

from collections.abc import Iterator

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.number_lines import (
    begins_with_numbers,
    is_dont_care,
    leading_numbers,
    mostly,
    page_of,
    text_after,
)
from detector.data.raw.shapes import pairs

SUFFIXES = (".txt",)
OVER = ("icdar2015",)
SCRIPTS = {
    *("arabic", "latin", "chinese", "japanese", "korean", "bangla", "hindi"),
    *("symbols", "mixed", "none"),
}


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    return mostly(file, _has_script)


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    page = page_of(file)
    for _, line in file.lines:
        numbers = leading_numbers(line)[:8]
        count = len(numbers) // 2 * 2
        script, text = _script(line), text_after(line, count + 1)
        if text is None and script.lower() not in SCRIPTS:
            script, text = "", text_after(line, count)
        page.add(
            pairs(numbers[:count]),
            text,
            ignore=is_dont_care(text),
            language=None if script.lower() in ("", "none") else script,
        )
    yield page


def _has_script(line: str) -> bool:
    fields = line.split(",", 9)
    has_script = len(fields) == 10 and fields[8].strip().lower() in SCRIPTS
    return has_script and begins_with_numbers(line, 8)


def _script(line: str) -> str:
    """The field after the eighth, without blanks."""
    return (text_after(line, 8) or "").partition(",")[0].strip()
