"""PPOCRLabel and PaddleOCR: a line an image in one `Label.txt`, its path, a tab and a JSON list.

Paths begin with the name of the pictures' own folder. Training looks at the text alone: `###` and
`*` are don't-care, `difficult` is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.core.errors import InputError
from detector.core.plain import parse_json
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.references import path_of
from detector.data.raw.shapes import points_of

SUFFIXES = (".txt",)
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


def _add(page: Labelled, word: Any) -> None:
    if not isinstance(word, dict):
        page.add(word)
        return
    text = word.get("transcription")
    ignore = isinstance(text, str) and text in _DONT_CARE
    page.add(points_of(word.get("points")), text, ignore=ignore)
