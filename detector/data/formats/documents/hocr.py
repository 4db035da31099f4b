"""hOCR: an HTML file, an element of class `ocr_page` an image, `ocrx_word` a word.

Places are properties in the `title` of an element. The text is that of the element, with the
spaces of HTML made one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from detector.core.errors import InputError
from detector.data.raw.images import path_of
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import box_of_corners, numbers, points_of_text

SUFFIXES = (".hocr", ".html", ".htm", ".xhtml")
_SPACE = " \t\r\n\f"
_MARK = re.compile(r"class\s*=\s*(\"[^\"]*|'[^']*|)\bocr(_page|x_word)\b")
_SINGLE = r"(?<=\s)'[^']*'"
_QUOTED = rf"\"(?:[^\"\\]|\\.)*\"|{_SINGLE}"
_PROPERTY = re.compile(rf"(?:{_QUOTED}|[^;\"])+")
# As far as double quotes are closed. From there on none is, and to look for an end of each would
# take the square of a title's length.
_CLOSED = re.compile(rf"(?:{_QUOTED}|[^\"'\s]+|[^\"])*")
_UNCLOSED = re.compile(rf"(?:{_SINGLE}|[^;])+")
_LINES = {"ocr_line", "ocrx_line"}
# Elements of HTML that have no end tag.
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "wbr"}


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    return _MARK.search(file.text) is not None


def read(file: LabelFile) -> Iterator[Labelled]:
    """The pages of the file with their words."""
    if not claims(file):
        raise InputError(f"{file.path}: not of hOCR: has no element of class ocr_page")
    reader = _Reader()
    reader.feed(_finished(file.text))
    reader.close()
    stem = str(file.name.with_suffix(""))
    for page in reader.pages:
        # where there are several it is unknown which the file is named for
        if len(reader.pages) == 1:
            page.others = (stem,)
            page.image = page.image or stem
        yield page


def _finished(text: str) -> str:
    """The text without what begins as a tag after the last one that ends.

    At the end of a file HTMLParser looks from each such tag for its end.
    """
    end = text.rfind(">") + 1
    return text[:end] + text[end:].partition("<")[0]


@dataclass
class _Open:
    """An element that is not closed yet: its place if it is a word, its text, what it holds."""

    tag: str
    kinds: list[str]
    title: dict[str, str]
    text: list[str] = field(default_factory=list)
    has_words: bool = False


class _Reader(HTMLParser):
    """Pages with their words, as the elements of a file come."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pages: list[Labelled] = []
        self._open: list[_Open] = []
        self._words: list[_Open] = []  # those of the open elements that are words
        self._tags: Counter[str] = Counter()  # of the open elements

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a page, a word or another element."""
        attributes = dict(attrs)
        kinds = (attributes.get("class") or "").split()
        title = _properties(attributes.get("title") or "")
        if "ocr_page" in kinds:
            self.pages.append(_new_page(title))
        if tag not in _VOID:
            element = _Open(tag, kinds, title)
            self._open.append(element)
            self._tags[tag] += 1
            self._words += [element] if "ocrx_word" in kinds else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element without content."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the last element of that name and those in it that were left open."""
        if self._tags[tag]:
            while self._close().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Text belongs to every word around it."""
        for word in self._words:
            word.text.append(data)

    def close(self) -> None:
        """Close what the file left open."""
        super().close()
        while self._open:
            self._close()

    def _close(self) -> _Open:
        """Close the last element; a word is added to the last page."""
        element = self._open.pop()
        self._tags[element.tag] -= 1
        if "ocrx_word" in element.kinds:
            self._words.pop()
            element.has_words = True
            text = re.sub(rf"[{_SPACE}]+", " ", "".join(element.text)).strip(" ")
            self._page().add(_points(element.title), text)
        elif "ocrx_cinfo" in element.kinds:
            self._page().left_out["character"] += 1
        elif not element.has_words and not _LINES.isdisjoint(element.kinds):
            self._page().left_out["line without words"] += 1
        if self._open:
            self._open[-1].has_words |= element.has_words
        return element

    def _page(self) -> Labelled:
        """The last page; one that nothing names where words come before any."""
        if not self.pages:
            self.pages.append(Labelled(""))
        return self.pages[-1]


def _properties(title: str) -> dict[str, str]:
    """What a title says, by name: `bbox 1 2 3 4; x_wconf 9`."""
    closed = _CLOSED.match(title)
    end = closed.end() if closed else 0
    written, rest = _PROPERTY.findall(title, 0, end), _UNCLOSED.findall(title, end)
    if written and rest and title[end - 1] != ";":
        written[-1] += rest.pop(0)
    parts = [part.split(None, 1) for part in written + rest]
    return {part[0].lower(): part[1].strip() for part in parts if len(part) == 2}


def _new_page(title: dict[str, str]) -> Labelled:
    image = title.get("image", "")
    if len(image) > 1 and image[0] == image[-1] and image[0] in "\"'":
        image = re.sub(r"\\([\"'\\])", r"\1", image[1:-1])
    page = Labelled(path_of(image))
    corner, extent = (title.get("bbox", "").split()[part] for part in (slice(2), slice(2, 4)))
    if len(extent) == 2 and numbers(corner) == [0, 0]:
        page.size = extent[0], extent[1]
    return page


def _points(title: dict[str, str]) -> Any:
    if "poly" in title:
        return points_of_text(title["poly"])
    corners = title.get("bbox", "").split()
    return box_of_corners(*corners) if len(corners) == 4 else corners
