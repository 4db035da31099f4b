"""PAGE XML, 2010 to 2019: an XML file a page, `Word`s in `TextLine`s in `TextRegion`s.

A line without words is itself the word. Until 2013 outlines are `Point` elements.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from detector.core.errors import InputError
from detector.data.raw.images import path_of
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import numbers, points_of, points_of_text

SUFFIXES = (".xml",)


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    return file.xml.tag == "PcGts"


def read(file: LabelFile) -> Iterator[Labelled]:
    """The page of the file with its words."""
    pages = file.xml.findall("Page")
    if not claims(file) or len(pages) != 1:
        raise InputError(
            f"{file.path}: not of PAGE XML: must be <PcGts> with one <Page>, got {len(pages)}"
        )
    (root,) = pages
    size = root.get("imageWidth"), root.get("imageHeight")
    stem = str(file.name.with_suffix(""))
    page = Labelled(
        path_of(root.get("imageFilename")) or stem,
        others=(stem,),
        size=None if None in size else size,
    )
    for line in root.iter("TextLine"):
        for word in line.findall("Word") or [line]:
            page.add(_points(word.find("Coords")), _text(word))
    page.left_out.update(_no_words(root))
    yield page


def _points(outline: Element | None) -> Any:
    if outline is None or outline.get("points") is not None:
        return points_of_text(None if outline is None else outline.get("points"))
    return points_of([[point.get("x"), point.get("y")] for point in outline.iter("Point")])


def _text(word: Element) -> str | None:
    """The text of the word's own `TextEquiv`: of several that with the lowest index."""
    texts = word.findall("TextEquiv")
    if not texts:
        return None
    main = min(texts, key=lambda text: (numbers([text.get("index")]) or [math.inf])[0])
    return main.findtext("Unicode") or main.findtext("PlainText") or ""


def _no_words(root: Element) -> Counter[str]:
    """Glyphs, and regions without lines: pictures, tables, noise, text that is not parted."""
    regions = [region for region in root.iter() if region.tag.endswith("Region")]
    found = [region.tag for region in regions if next(region.iter("TextLine"), None) is None]
    return Counter(found + [glyph.tag for glyph in root.iter("Glyph")])
