"""PPOCRLabel and PaddleOCR: a line an image in one `Label.txt`, its path, a tab and a JSON list.

Paths begin with the name of the pictures' own folder. Training looks at the text alone: `###` and
`*` are don't-care, `difficult` is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from detector.core.errors import InputError
from detector.core.escape import encodable
from detector.core.plain import parse_json
from detector.data.raw.images import path_of
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import points_of
from detector.data.raw.written import (
    beside,
    json_text,
    leave_out,
    text_where_dont_care_is_text,
)

SUFFIXES = (".txt",)
FOLDER = True
FILE = "Label.txt"
# Which pictures were confirmed, and texts of cut out words.
ASIDE = ("filestate.txt", "rec_gt*.txt")
_DONT_CARE = {"###", "*"}


def claims(file: LabelFile) -> bool:
    """Whether every line is of this format."""
    lines = [row.partition("\t") for _, row in file.lines]
    listed = [words.strip() for _, _, words in lines]
    if not lines or not all(words.startswith("[") and words.endswith("]") for words in listed):
        return False
    return "{" in listed[0] or listed[0].replace(" ", "") == "[]"


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words; InputError names the line that is not of JSON."""
    for number, row in file.lines:
        image, tab, text = row.partition("\t")
        where = f"{file.path}: line {number}"
        words = parse_json(text, where) if tab else None
        if not isinstance(words, list):
            raise InputError(f"{where}: must be a path, a tab and a JSON list of words; correct it")
        page = Labelled(path_of(image))
        for word in words:
            _add(page, word)
        yield page


def write(pages: Sequence[Labelled], output: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """A `Label.txt` for each folder of images, since the tool opens one folder."""
    ordered = sorted(pages, key=lambda page: Path(page.image).parent)
    for file, own in groupby(ordered, key=lambda page: beside(page, output, FILE)):
        yield file, "".join(_line(page, root / page.image) + "\n" for page in own)


def _line(page: Labelled, image: Path) -> str:
    if any(mark in image.name for mark in "\t\r\n"):
        raise InputError(f"{image}: a name in {FILE} has no tab or line break; rename the image")
    leave_out(page, "language", "orientation")
    words = []
    for word in page.words.values():
        told = word["transcription"] in _DONT_CARE
        text = text_where_dont_care_is_text(page, word, told)
        words.append({"transcription": text, "points": word["points"], "difficult": word["ignore"]})
    name = encodable(f"{image.parent.name}/{image.name}")
    return f"{name}\t{json_text(words, indent=None)}"


def _add(page: Labelled, word: Any) -> None:
    if not isinstance(word, dict):
        page.add(word)
        return
    text = word.get("transcription")
    ignore = isinstance(text, str) and text in _DONT_CARE
    page.add(points_of(word.get("points")), text, ignore=ignore)
