"""Azure's Read: saved results of its services, beside images of the same stem.

Document Intelligence (`pages` with `words`, within `analyzeResult` or bare), Read 3 (`readResults`,
words in lines) and Image Analysis 4 (`readResult`, words in the lines of blocks). Pages of
documents are measured in inches; pages are never turned by their `angle`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled, by_stem, size_of
from detector.data.raw.shapes import are_points, numbers, outline
from detector.data.raw.values import field, first_object, listed, nested

SUFFIXES = (".json",)
# The services write the first of each; their Python libraries may write the second.
_OUTER = ("analyzeResult", "analyze_result")
_READ_3 = ("readResults", "read_results", "recognitionResults")
_IMAGE_ANALYSIS = ("readResult", "read_result")
_OUTLINE = ("polygon", "boundingPolygon", "bounding_polygon", "boundingBox", "bounding_box")
_NUMBER = ("pageNumber", "page_number", "page")
_OF_PAGES = {"unit", "pageNumber", "page_number", "spans"}
_NO_WORDS = {"selectionMarks": "selection mark", "selection_marks": "selection mark"}


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    content = file.json
    pages = _pages(content)
    if pages is None:
        return False
    if field(content, *_OUTER, *_READ_3, *_IMAGE_ANALYSIS) is not None:
        return True
    return not _OF_PAGES.isdisjoint(first_object(pages) or {}) or not (
        {"modelId", "model_id"}.isdisjoint(content)
    )


def read(file: LabelFile) -> Iterator[Labelled]:
    """The image of each page of the result with its words."""
    pages = _pages(file.json)
    if pages is None:
        raise InputError(
            f"{file.path}: must be a result of Azure's Read with pages, readResults or readResult; "
            f"got {shown(file.json)}"
        )
    for index, raw in enumerate(pages or [{}], 1):
        number = field(raw, *_NUMBER)
        number = number if isinstance(number, int) else index
        yield _filled(by_stem(file.name, number, len(pages)), raw)


def _pages(content: Any) -> list[Any] | None:
    """The pages of any of the results; None for anything else."""
    result = field(content, *_OUTER) or content
    image = field(result, *_IMAGE_ANALYSIS)
    pages = field(image or result, "pages", *_READ_3)
    if isinstance(pages, list):
        return pages
    blocks = field(image, "blocks")
    if not isinstance(blocks, list):
        return None
    size = field(result, "metadata")
    lines = list(nested(blocks, "lines"))
    return [{"lines": lines, "width": field(size, "width"), "height": field(size, "height")}]


def _filled(page: Labelled, raw: Any) -> Labelled:
    if not isinstance(raw, dict):
        page.add(raw)
        return page
    unit, sides = raw.get("unit"), [raw.get("width"), raw.get("height")]
    scale = None
    if unit is None or str(unit).lower() == "pixel":
        page.size = size_of(*sides)
    else:
        page.unit, scale = "fraction", numbers(sides)
        if scale is None or min(scale) <= 0:
            page.labelled = False
            message = f"measured in {shown(unit)}, and its width and height do not tell the scale"
            page.faults.append((None, "bad-page", message))
            return page
    words = raw.get("words")
    for word in nested(raw.get("lines"), "words") if words is None else listed(words):
        points = outline(field(word, *_OUTLINE)) if isinstance(word, dict) else word
        page.add(_scaled(points, scale), field(word, "content", "text"))
    for key, name in _NO_WORDS.items():
        if raw.get(key):
            page.left_out[name] += len(listed(raw[key]))
    return page


def _scaled(points: Any, scale: list[float] | None) -> Any:
    if scale is None or not isinstance(points, list) or not are_points(points):
        return points
    return [[x / scale[0], y / scale[1]] for x, y in points]
