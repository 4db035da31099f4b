"""Words and detections from the files that scores are asked for.

Four layouts: the competition's JSON (`{"images": {name: {"words": {id: {"points": ...}}}}}`),
its CSV (`filename,polygons`), and ICDAR text files in a folder or a zip (`gt_img_1.txt`,
`res_img_1.txt`, one `x1,y1,...,x4,y4,text` a line, `###` for a word to ignore).
"""

from __future__ import annotations

import csv
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core.errors import InputError
from detector.core.escape import csv_text, shown
from detector.core.plain import JSON_BYTES, parse_json, read_bounded
from detector.data.page.images import IMAGE_SUFFIXES

_IGNORED_TEXT = "###"
_LAYOUTS = "a .json or .csv file, or a .zip or folder of ICDAR .txt files"
_LONGEST_CSV_FIELD = 1 << 30
_MOST_BYTES = JSON_BYTES  # of a file, and of all the files in a zip
_ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)


@dataclass
class PageShapes:
    """What one page holds: polygons `(K, 2)` float64 xy in pixels, and for each its text
    (None when not given) and whether it is to be ignored. `labelled` is false for a page
    whose words are unknown, which is not the same as a page without words."""

    polygons: list[NDArray[np.float64]] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    labelled: bool = True

    def append(self, polygon: NDArray[np.float64], text: str | None, ignore: bool) -> None:
        self.polygons.append(polygon)
        self.texts.append(text)
        self.ignore.append(ignore or text == _IGNORED_TEXT)


Pages = dict[str, PageShapes]


def read_pair(truth: Path, predictions: Path) -> tuple[Pages, Pages]:
    """The pages of a ground truth file and of a prediction file, by the same names.

    ICDAR text files carry no image suffix, so with one of them names are compared without.
    Raises InputError for what cannot be read, and for predicted pages that the ground
    truth does not know.
    """
    words, found = read_pages(truth), read_pages(predictions, predicted=True)
    if _is_icdar(truth) or _is_icdar(predictions):
        words, found = _without_suffix(words, truth), _without_suffix(found, predictions)
    if unknown := sorted(found.keys() - words.keys()):
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise InputError(
            f"{predictions}: {len(unknown)} pages are not in {truth}: {shown}; "
            "predict the pages of that ground truth only"
        )
    return words, found


def read_pages(path: Path, *, predicted: bool = False) -> Pages:
    """The pages of one file or folder, by name.

    With `predicted`, text lines may hold polygons of any length and no text. Raises
    InputError naming the file, the place and the rule.
    """
    if not path.exists():
        raise InputError(f"{path}: does not exist; expected {_LAYOUTS}")
    suffix = path.suffix.lower()
    if _is_icdar(path):
        return _read_icdar(path, predicted)
    if suffix == ".json":
        return _read_json(path)
    if suffix == ".csv":
        return _read_csv(path)
    raise InputError(f"{path}: unknown kind of file; expected {_LAYOUTS}")


def _is_icdar(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".zip"


def _without_suffix(pages: Pages, path: Path) -> Pages:
    renamed: Pages = {}
    for name, page in pages.items():
        stem, dot, suffix = name.rpartition(".")
        short = stem if dot and f".{suffix}".lower() in IMAGE_SUFFIXES else name
        _put(renamed, short, page, path)
    return renamed


def _put(pages: Pages, name: str, page: PageShapes, path: Path) -> None:
    if name in pages:
        raise InputError(f"{path}: page {name} is given twice; keep one of them")
    pages[name] = page


def _text(path: Path) -> str:
    return _decoded(_content(path), path)


def _content(path: Path) -> bytes:
    try:
        return read_bounded(path, _MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _decoded(content: bytes, where: Path | str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 text: {error}") from None


def _read_json(path: Path) -> Pages:
    content = parse_json(_text(path), str(path))
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, dict):
        raise InputError(f'{path}: must hold {{"images": {{name: {{"words": ...}}}}}}')
    pages: Pages = {}
    for name, entry in images.items():
        if not isinstance(entry, dict):
            raise InputError(f"{path}: {name}: must be a mapping, got {type(entry).__name__}")
        words = entry.get("words")
        page = PageShapes(labelled=words is not None)
        if not isinstance(words, (dict, type(None))):
            raise InputError(f"{path}: {name}: words must map ids, got {type(words).__name__}")
        for identifier, word in (words or {}).items():
            page.append(*_json_word(word, f"{path}: {name}: word {identifier}"))
        pages[name] = page
    return pages


def _json_word(word: Any, where: str) -> tuple[NDArray[np.float64], str | None, bool]:
    if not isinstance(word, dict) or not isinstance(word.get("points"), list):
        raise InputError(f"{where}: must hold points as a list of [x, y]")
    points, text, ignore = word["points"], word.get("transcription"), word.get("ignore", False)
    if not all(isinstance(p, list) and len(p) == 2 and all(map(_is_number, p)) for p in points):
        raise InputError(f"{where}: every point must be two numbers [x, y], got {shown(points)}")
    if not isinstance(text, (str, type(None))):
        raise InputError(f"{where}: transcription must be text or null, got {shown(text)}")
    if not isinstance(ignore, (bool, type(None))):
        raise InputError(f"{where}: ignore must be true or false, got {shown(ignore)}")
    try:
        return np.array(points, dtype=np.float64).reshape(-1, 2), text, bool(ignore)
    except OverflowError:
        raise InputError(f"{where}: coordinates must fit a float, got {shown(points)}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _read_csv(path: Path) -> Pages:
    csv.field_size_limit(_LONGEST_CSV_FIELD)  # a dense page passes the default of 128 KiB
    lines = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        rows = [(lines.line_num, row) for row in lines if row]
    except csv.Error as error:
        raise InputError(f"{path}: line {lines.line_num}: not valid CSV: {error}") from None
    header = rows[0][1] if rows else []
    if [name.strip() for name in header] != ["filename", "polygons"]:
        raise InputError(f"{path}: the first line must be filename,polygons, got {shown(header)}")
    pages: Pages = {}
    for number, row in rows[1:]:
        where = f"{path}: line {number}"
        if len(row) != 2:
            raise InputError(f"{where}: must be filename,polygons, got {len(row)} fields")
        page = PageShapes()
        for polygon in filter(str.strip, row[1].split("|")):
            page.append(_polygon(polygon.split(), where), None, False)
        _put(pages, csv_text(row[0]), page, path)
    return pages


def _polygon(numbers: list[str], where: str) -> NDArray[np.float64]:
    try:
        values = [float(n) for n in numbers]
    except ValueError as error:
        raise InputError(f"{where}: coordinates must be numbers: {error}") from None
    if len(values) % 2:
        raise InputError(f"{where}: coordinates must be pairs x y, got {len(values)} numbers")
    return np.array(values).reshape(-1, 2)


def _read_icdar(path: Path, predicted: bool) -> Pages:
    files = {_page_name(name): (name, text) for name, text in _text_files(path)}
    if not files:
        raise InputError(f"{path}: holds no .txt files; expected {_LAYOUTS}")
    lines = {
        page: [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
        for page, (_, text) in files.items()
    }
    # a numeric text cannot be told from further points line by line, only for the whole set
    bare = predicted and all(_all_numbers(line) for page in lines.values() for _, line in page)
    pages: Pages = {}
    for page, numbered in lines.items():
        shapes = PageShapes()
        for number, line in numbered:
            where = f"{path}: {files[page][0]}: line {number}"
            shapes.append(*_icdar_line(line, bare, where))
        pages[page] = shapes
    return pages


def _text_files(path: Path) -> Iterator[tuple[str, str]]:
    """Names and contents of the .txt files of a folder or zip; a repeated page is refused."""
    seen: Pages = {}
    for name, content in _zip_files(path) if path.is_file() else _folder_files(path):
        _put(seen, _page_name(name), PageShapes(), path)
        yield name, _decoded(content, f"{path}: {name}")


def _folder_files(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.iterdir()):
        if _is_text_file(file.name):
            yield file.name, _content(file)


def _zip_files(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            # macOS adds its own __MACOSX/._name.txt beside every file
            names = [n for n in archive.namelist() if _is_text_file(PurePosixPath(n).name)]
            names = sorted(name for name in names if not name.endswith("/"))
            # No more than the size in the directory is unpacked, whatever the data say.
            if sum(archive.getinfo(name).file_size for name in names) > _MOST_BYTES:
                raise InputError(f"{path}: its files have more than {_MOST_BYTES} bytes; split it")
            for name in names:
                yield name, archive.read(name)
    except InputError:
        raise
    except (*_ZIP_FAULTS, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable zip file: {error}") from None


def _is_text_file(name: str) -> bool:
    return name.lower().endswith(".txt") and not name.startswith(".")


def _page_name(file: str) -> str:
    name = PurePosixPath(file).name[: -len(".txt")]
    return name.removeprefix("gt_") if name.startswith("gt_") else name.removeprefix("res_")


def _all_numbers(line: str) -> bool:
    try:
        return all(np.isfinite(float(part)) for part in line.rstrip().rstrip(",").split(","))
    except ValueError:
        return False


def _icdar_line(line: str, bare: bool, where: str) -> tuple[NDArray[np.float64], str | None, bool]:
    """One line: numbers only (`bare`), or a quad and, after a comma, its text."""
    if bare:
        return _polygon(line.rstrip().rstrip(",").split(","), where), None, False
    parts = line.split(",", 8)
    if len(parts) < 8:
        raise InputError(f"{where}: must be x1,y1,x2,y2,x3,y3,x4,y4,text, got {shown(line)}")
    text = _unquoted(parts[8]) if len(parts) == 9 else None
    return _polygon(parts[:8], where), text, False


def _unquoted(text: str) -> str:
    """ICDAR writes some texts in double quotes, with backslashes before inner ones."""
    bare = text.strip()
    if len(bare) < 2 or not bare.startswith('"') or not bare.endswith('"'):
        return text
    return bare[1:-1].replace("\\\\", "\\").replace('\\"', '"')
