"""Total-Text: a text file an image, words of arrays as numpy prints them.

`x: [[..]], y: [[..]], ornt: [u'c'], transcriptions: [u'..']`; long arrays go on in the next line.
Texts are literals of Python 2. An orientation or a text `#` is don't-care, and no text at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.number_lines import page_of
from detector.data.raw.shapes import numbers

SUFFIXES = (".txt",)
_FIRST = re.compile(r"\s*x:\s*\[")
_WORD = re.compile(
    r"\s*x:\s*\[([^\]]*)\]+\s*,\s*y:\s*\[([^\]]*)\]+\s*,\s*"
    r"ornt:\s*\[(.*?)\]\s*,\s*transcriptions:\s*\[(.*)\]\s*,?\s*"
)
_LITERAL = re.compile(r"""u?(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")""")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))")
_LETTERS = {"n": "\n", "r": "\r", "t": "\t"}
_ORIENTATIONS = {"c": "Curved", "h": "Horizontal", "m": "Multi-Oriented"}


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    if file.lines and not _FIRST.match(file.lines[0][1]):
        return False
    words = _words(file)
    return 2 * sum("transcriptions:" in word for word in words) >= len(words)


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    page = page_of(file)
    for written in _words(file):
        found = _WORD.fullmatch(written)
        if found is None:
            page.add(written)
            continue
        kind, text = _text(found[3]), _text(found[4])
        page.add(
            _points(found[1], found[2]),
            text,
            ignore=text is None or "#" in (kind, text),
            orientation=_ORIENTATIONS.get(kind or ""),
        )
    yield page


def _words(file: LabelFile) -> list[str]:
    """The words as written, each in one line."""
    words: list[list[str]] = []
    for _, line in file.lines:
        if words and not _FIRST.match(line):
            words[-1].append(line)
        else:
            words.append([line])
    return [" ".join(lines) for lines in words]


def _points(xs: str, ys: str) -> Any:
    pairs = [list(pair) for pair in zip_longest(*(re.findall(r"[^\s,\[]+", v) for v in (xs, ys)))]
    return [numbers(pair) or pair for pair in pairs]


def _text(literals: str) -> str | None:
    """The texts of a list of Python literals, with blanks between; None of an empty list."""
    found = [single or double for single, double in _LITERAL.findall(literals)]
    text = " ".join(_ESCAPE.sub(_unescaped, literal) for literal in found)
    # Python 2 wrote what is beyond 16 bits as two escapes.
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return joined if found else None


def _unescaped(escape: re.Match[str]) -> str:
    digits = escape[1] or escape[2] or escape[3]
    if digits is None:
        return _LETTERS.get(escape[4], escape[4])
    return chr(int(digits, 16)) if int(digits, 16) < 0x110000 else escape[0]
