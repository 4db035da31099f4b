"""Detections as they are handed in: a table of polygons, or lines of nothing but numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from detector.core.errors import InputError
from detector.core.escape import csv_text, shown
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.number_lines import is_outline, leading_numbers, page_of
from detector.data.raw.shapes import box_of_corners, pairs

_HEADER = ["filename", "polygons"]
_LONGEST_FIELD = 1 << 30
_MOST_CONFIDENCE = 100  # in percent
_AS_BOXES = "lines of four numbers are read as left,top,right,bottom"

Rows = list[tuple[int, list[float]]]


def read_table(file: LabelFile) -> Iterator[Labelled]:
    """The images of the contest's CSV: `filename,polygons`, each `x y x y ...`, `|` between them.

    InputError for other columns, and for what are no polygons.
    """
    csv.field_size_limit(_LONGEST_FIELD)  # a dense page passes the default of 128 KiB
    lines = csv.reader(io.StringIO(file.text, newline=""), strict=True)
    try:
        rows = [(lines.line_num, row) for row in lines if row]
    except csv.Error as error:
        raise InputError(f"{file.path}: line {lines.line_num}: not valid CSV: {error}") from None
    header = rows[0][1] if rows else []
    if [name.strip() for name in header] != _HEADER:
        raise InputError(
            f"{file.path}: the first line must be filename,polygons, got {shown(header)}"
        )
    for number, row in rows[1:]:
        where = f"{file.path}: line {number}"
        if len(row) != 2:
            raise InputError(f"{where}: must be filename,polygons, got {len(row)} fields")
        page = Labelled(csv_text(row[0]))
        for polygon in filter(str.strip, row[1].split("|")):
            page.add(_polygon(polygon.split(), where))
        yield page


def _polygon(fields: list[str], where: str) -> list[list[float]]:
    try:
        values = [float(value) for value in fields]
    except ValueError as error:
        raise InputError(f"{where}: coordinates must be numbers: {error}") from None
    if len(values) % 2:
        raise InputError(f"{where}: coordinates must be pairs x y, got {len(values)} numbers")
    return [list(pair) for pair in zip(values[::2], values[1::2], strict=True)]


def only_numbers(files: Sequence[LabelFile]) -> dict[LabelFile, Rows] | None:
    """The numbers of each line of all files, with the lines' own; None when a line has others."""
    found = {}
    for file in files:
        rows: Rows = []
        for number, line in file.lines:
            values = leading_numbers(line)
            if len(values) != line.rstrip().removesuffix(",").count(",") + 1:
                return None
            rows.append((number, values))
        found[file] = rows
    return found


def are_boxes(files: Mapping[LabelFile, Rows]) -> bool:
    """Whether every line has four numbers, and there is one."""
    return {len(values) for rows in files.values() for _, values in rows} == {4}


def read_lines(files: Mapping[LabelFile, Rows]) -> Iterator[tuple[LabelFile, Labelled]]:
    """Each file's image: a box `left,top,right,bottom` a line, or an outline `x1,y1,...`.

    A further number is the confidence. Those after the eighth go on with the outline where most
    lines that have any are shaped like one, else they are a text. Raises InputError for lines of
    other lengths than the rest, which may be anything.
    """
    lengths = [len(values) for rows in files.values() for _, values in rows]
    boxes = bool(lengths) and all(length in (4, 5) for length in lengths)
    long = [v for rows in files.values() for _, v in rows if len(v) >= 10]
    outlines = 2 * sum(map(is_outline, long)) > len(long)
    odd = sum(len(values) % 2 for values in long) * 2 > len(long)
    for file, rows in files.items():
        page = page_of(file)
        for number, values in rows:
            where = f"{file.path}: line {number}"
            if boxes:
                page.add(_box(values, where))
            elif outlines and len(values) >= 10:
                page.add(_outline(values, odd, where))
            else:
                page.add(_quad(values, where))
        sure = outlines or all(len(values) < 10 for _, values in rows)
        rest = sum(len(values) % 2 for _, values in rows) if sure else 0
        page.left_out.update({"confidence": rest} if rest else {})
        if boxes and rows:
            page.faults.append(
                (None, "left-out", "lines of four numbers are read as left,top,right,bottom")
            )
        yield file, page


def _box(values: list[float], where: str) -> object:
    left, top, right, bottom = values[:4]
    if right < left or bottom < top:
        raise InputError(
            f"{where}: must be left,top,right,bottom or x1,y1,...,x4,y4, got {shown(values)}, "
            "whose right or bottom comes first; write widths and heights as right and bottom"
        )
    return box_of_corners(left, top, right, bottom)


def _quad(values: list[float], where: str) -> object:
    if len(values) < 8:
        raise InputError(
            f"{where}: must be x1,y1,...,x4,y4, as other lines are, or left,top,right,bottom in "
            f"all of them, got {len(values)} numbers"
        )
    return pairs(values[:8])


def _outline(values: list[float], odd: bool, where: str) -> object:
    """An outline, without the confidence that most long lines end with when they are `odd`."""
    if len(values) % 2 != odd or (odd and not 0 <= values[-1] <= _MOST_CONFIDENCE):
        rule = "pairs x,y and a confidence" if odd else "pairs x,y"
        raise InputError(
            f"{where}: must be {rule}, as other lines are, got {len(values)} numbers; correct it"
        )
    return pairs(values[: len(values) // 2 * 2])
