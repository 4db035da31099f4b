"""ALTO 2 to 4: an XML file a page, a `String` a word.

Places in tenths of millimetres or 1200ths of inches are fractions of the `Page`. ROTATION tells how
the content is turned and moves no place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from detector.core.errors import InputError
from detector.data.page.pdf import page_name
from detector.data.raw.images import path_of
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import box_of_size, numbers, points_of_text, scaled

SUFFIXES = (".xml", ".alto")
_UNITS = ("pixel", "mm10", "inch1200")
_NO_WORDS = {"Glyph", "Illustration", "GraphicalElement"}


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    return file.xml.tag.lower() == "alto"


def read(file: LabelFile) -> Iterator[Labelled]:
    """The page of the file with its words; InputError where its places cannot be known."""
    pages = file.xml.findall("Layout/Page")
    if len(pages) != 1:
        raise InputError(f"{file.path}: ALTO with {len(pages)} pages; must have one, as its image")
    unit = (file.xml.findtext("Description/MeasurementUnit") or "pixel").strip().lower()
    if unit not in _UNITS:
        raise InputError(
            f"{file.path}: MeasurementUnit must be one of {', '.join(_UNITS)}, got {unit!r}"
        )
    size = pages[0].get("WIDTH"), pages[0].get("HEIGHT")
    extent = (1.0, 1.0) if unit == "pixel" else _extent(file, unit, size)
    name = file.xml.findtext("Description/sourceImageInformation/fileName") or ""
    name, number = path_of(name.strip()), numbers([pages[0].get("PHYSICAL_IMG_NR")])
    stem = str(file.name.with_suffix(""))
    others = [stem, stem.removesuffix(".alto")]
    if name and number is not None:
        others.insert(0, page_name(name, int(number[0])))
    page = Labelled(name or stem, tuple(dict.fromkeys(others)))
    if unit != "pixel":
        page.unit = "fraction"
    elif None not in size:
        page.size = size
    for string in pages[0].iter("String"):
        _add(page, string, extent)
    found = Counter(item.tag for item in pages[0].iter() if item.tag in _NO_WORDS)
    lines = sum(line.find("String") is None for line in pages[0].iter("TextLine"))
    page.left_out.update(found + Counter({"line without words": lines}))
    yield page


def _extent(file: LabelFile, unit: str, size: tuple[str | None, str | None]) -> tuple[float, float]:
    """The width and height of the page in its own unit."""
    values = numbers(size)
    if values is None or min(values) <= 0:
        raise InputError(
            f"{file.path}: places in {unit} need the WIDTH and HEIGHT of the Page, got {size}"
        )
    return values[0], values[1]


def _add(page: Labelled, string: Element, extent: tuple[float, float]) -> None:
    polygon = string.find("Shape/Polygon")
    if polygon is not None:
        points = points_of_text(polygon.get("POINTS"))
    else:
        points = box_of_size(*(string.get(key) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")))
    page.add(scaled(points, *extent), string.get("CONTENT"))
