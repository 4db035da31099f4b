"""CORD receipts: `metadata.jsonl` with a JSON text in each line, or (v0) a JSON file an image.

Words are those of `valid_line`. `dontcare` are groups of outlines; the rules made of signs in
`repeating_symbol` are don't-care too, since they are no words and look like some. `roi` is the
receipt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.core.errors import InputError
from detector.core.plain import parse_json
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled, bad_page, by_stem, image_name, size_of
from detector.data.raw.shapes import outline
from detector.data.raw.values import field, nested

SUFFIXES = (".jsonl", ".json")
_CORNERS = ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format; of a `.jsonl` file the first line tells."""
    if file.path.suffix.lower() == ".json":
        return _is_receipt(file.json)
    number, line = next(iter(file.lines), (0, ""))
    if '"ground_truth"' not in line:  # the one line of other files is hundreds of megabytes long
        return False
    first = parse_json(line, str(file.path))
    return field(first, "file_name") is not None and _is_receipt(_truth(file, number, first))


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words; a line without words is unlabelled."""
    if file.path.suffix.lower() == ".json":
        if not _is_receipt(file.json):
            raise InputError(f"{file.path}: must be an object with valid_line, as CORD's v0 has")
        yield _filled(by_stem(file.name), file.json)
        return
    for number, line in file.json_lines:
        if field(line, "file_name") is None:
            rule = "a line must be an object with file_name and ground_truth"
            yield bad_page(f"line {number}", rule, line)
            continue
        yield _filled(Labelled(image_name(line["file_name"])), _truth(file, number, line))


def _truth(file: LabelFile, number: int, line: Any) -> Any:
    truth = field(line, "ground_truth")
    if isinstance(truth, str):
        return parse_json(truth, f"{file.path}: line {number}: ground_truth")
    return truth


def _is_receipt(truth: Any) -> bool:
    return isinstance(truth, dict) and isinstance(truth.get("valid_line"), list)


def _filled(page: Labelled, truth: Any) -> Labelled:
    size = field(field(truth, "meta"), "image_size")
    page.size = size_of(field(size, "width"), field(size, "height"))
    page.labelled = _is_receipt(truth)
    for word in nested(field(truth, "valid_line"), "words"):
        page.add(_points(field(word, "quad"), word), field(word, "text"))
    for symbol in _ungrouped(field(truth, "repeating_symbol")):
        page.add(_points(field(symbol, "quad"), symbol), field(symbol, "text"), ignore=True)
    for quad in _ungrouped(field(truth, "dontcare")):
        page.add(_points(quad, quad), ignore=True)
    return page


def _ungrouped(groups: Any) -> Iterator[Any]:
    for group in nested(groups):
        yield from nested(group)


def _points(quad: Any, whole: Any) -> Any:
    """The corners of `{"x1", "y1", ...}` in their order; where there are none, what is there."""
    if not isinstance(quad, dict):
        return whole
    return outline([quad.get(key) for key in _CORNERS])
