"""Words and detections from the files that scores are asked for, by the readers of label files.

A file, a folder or a zip of any format in `detector.data.formats`, the contest's CSV
(`filename,polygons`), or text files with nothing but numbers in their lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.core.errors import InputError
from detector.core.escape import shown, some
from detector.data.labels.formats import (
    claimants,
    formats,
    is_suffixed,
    label_files,
    may_hold_labels,
    recognised,
)
from detector.data.labels.frames import in_pixels
from detector.data.labels.pages import KINDS
from detector.data.labels.words import DONT_CARE, refuse_fractions
from detector.data.page.images import IMAGE_SUFFIXES, image_size, is_called_image
from detector.data.page.pdf import file_of
from detector.data.raw.archives import zip_files
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.page_names import normal, page_index, pages_named
from detector.data.raw.results import are_boxes, only_numbers, read_lines, read_table
from detector.data.raw.shapes import numbers

_LAYOUTS = (
    "a file, a .zip or a folder of labels in a known format, or a .csv with filename,polygons"
)
# Whose texts the published tool takes out of quotes before it counts their characters.
_QUOTED = ("icdar2015", "icdar_mlt")
# Two would be a box to some and nothing to others.
_FEWEST_POINTS = 3


@dataclass
class PageShapes:
    """What one page holds: polygons `(K, 2)` float64 xy in pixels, and for each its text
    (None when not given) and whether it is to be ignored. `labelled` is false for a page
    whose words are unknown, which is not the same as a page without words. `names` are those
    that its image may have, the likeliest first, `notes` what was left out or may not be meant
    as it was read, with how often."""

    polygons: list[NDArray[np.float64]] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    labelled: bool = True
    names: tuple[str, ...] = ()
    notes: Counter[str] = field(default_factory=Counter)

    def append(self, polygon: NDArray[np.float64], text: str | None, ignore: bool) -> None:
        self.polygons.append(polygon)
        self.texts.append(text)
        self.ignore.append(ignore or text == DONT_CARE)


Pages = dict[str, PageShapes]


@dataclass(frozen=True)
class _Said:
    """A page in the file that says it, and the file's format; None for one of results alone."""

    page: Labelled
    file: LabelFile
    format: str | None = None


@dataclass(frozen=True)
class Pair:
    """Pages of a ground truth and what was predicted for them, by the names of the former.

    missing: labelled pages that were not predicted; extra: predicted pages that are left out.
    """

    truth: Pages
    found: Pages
    missing: tuple[str, ...]
    extra: tuple[str, ...]


def read_pair(truth: Path, predictions: Path, images: Path | None = None) -> Pair:
    """The pages of a ground truth and of predictions.

    Names are the same but for the suffix of an image where one lacks it, and the folders before
    it where no page has the whole name. Predictions of further pages change no score, so they
    are left out where each page of the ground truth has its own. Otherwise names that do not
    fit each other are likelier, and would count as missing: InputError, as for files that
    cannot be read and names that may mean several pages.
    """
    words = read_pages(truth, images=images)
    predicted = read_pages(predictions, predicted=True, images=images)
    index = page_index({name: page.names for name, page in words.items()})
    found: Pages = {}
    extra = []
    for name, page in predicted.items():
        hits = pages_named(page.names, index)
        if len(hits) > 1:
            raise InputError(f"{predictions}: {name} may be {some(hits)} of {truth}; say which")
        if not hits:
            extra.append(name)
        elif hits[0] in found:
            raise InputError(f"{predictions}: page {hits[0]} is given twice; keep one of them")
        else:
            found[hits[0]] = page
    missing = [name for name, page in words.items() if page.labelled and name not in found]
    if extra and (missing or not found):
        lacking = f", and {len(missing)} of its pages are missing: {some(missing)}"
        raise InputError(
            f"{predictions}: {len(extra)} pages are not in {truth}: {some(sorted(extra))}"
            f"{lacking if missing else ''}; give pages the names that they have there, or take "
            "away those that are not to be scored"
        )
    return Pair(words, found, tuple(missing), tuple(sorted(extra)))


def read_pages(path: Path, *, predicted: bool = False, images: Path | None = None) -> Pages:
    """The pages of one file, folder or zip, by their names in Unicode form C.

    With `predicted`, lines of nothing but numbers may be boxes and outlines with confidences,
    and no shape has fewer than three points. The pages' images, in the folder `images`, tell the
    size of which points may be shares. Raises InputError naming the file, the place and the rule.
    """
    pages: Pages = {}
    for one in _said(path, _files(path), predicted):
        names = [normal(name) for name in (one.page.image, *one.page.others)]
        name = names[1] if _is_text(one.file) and len(names) > 1 else names[0]
        if name in pages:
            raise InputError(f"{path}: page {name} is given twice; keep one of them")
        if one.page.unit == "fraction":
            one.page.words = _in_pixels(one, names, images)
        pages[name] = _shapes(one, name, predicted)
        pages[name].names = tuple(names)
    shapes = (page.polygons for page in pages.values())
    refuse_fractions(
        str(path), ({str(i): {"points": p.tolist()} for i, p in enumerate(s)} for s in shapes)
    )
    return pages


def _is_text(file: LabelFile) -> bool:
    """Whether it has a word a line, and the name of its image after `gt_` and the like."""
    return file.path.suffix.lower() == ".txt"


def _files(path: Path) -> list[LabelFile]:
    if not path.exists():
        raise InputError(f"{path}: does not exist; expected {_LAYOUTS}")
    if path.is_dir():
        files = label_files(path)
    elif path.suffix.lower() == ".zip":
        files = zip_files(path, may_hold_labels)
    else:
        files = [LabelFile(path, PurePosixPath(path.name))]
        if not may_hold_labels(PurePosixPath(f"labels{path.suffix}")):
            raise InputError(f"{path}: unknown kind of file; expected {_LAYOUTS}")
    if not files:
        raise InputError(f"{path}: holds no file of labels; expected {_LAYOUTS}")
    return files


def _said(path: Path, files: Sequence[LabelFile], predicted: bool) -> Iterator[_Said]:
    suffixes = {file.path.suffix.lower() for file in files}
    if suffixes == {".csv"} and not any(file.lines and claimants(file) for file in files):
        yield from (_Said(page, file) for file in files for page in read_table(file))
        return
    lines = only_numbers(files) if suffixes == {".txt"} else None
    if lines is not None and (predicted or are_boxes(lines)):
        yield from (_Said(page, file) for file, page in read_lines(lines))
        return
    name, known = recognised(path, files)
    suffixed = (file for file in files if is_suffixed(file, formats()[name]))
    if others := sorted(str(file.path) for file in set(suffixed).difference(known)):
        raise InputError(
            f"{others[0]}: is no file of the format {name}, as others of {path} are; correct it "
            "or take it away"
        )
    for file in known:
        yield from (_Said(page, file, name) for page in formats()[name].read(file))
        file.forget()


def _shapes(said: _Said, name: str, predicted: bool) -> PageShapes:
    page, path = said.page, said.file.path
    for _, kind, message in page.faults:
        if KINDS[kind] == "page excluded":
            raise InputError(f"{path}: {name}: {message}")
    shapes = PageShapes(labelled=page.labelled)
    shapes.notes.update(message for _, _, message in page.faults)
    shapes.notes.update({f"{what} left out": count for what, count in page.left_out.items()})
    fewest = 4 if said.format in _QUOTED else _FEWEST_POINTS if predicted else 0
    try:
        polygons = _polygons([*page.words.values()], fewest)
    except InputError:
        raise _first_fault(said, name, fewest) from None
    texts = [word.get("transcription") for word in page.words.values()]
    shapes.polygons = polygons
    shapes.texts = [*map(_unquoted, texts)] if said.format in _QUOTED else texts
    shapes.ignore = [
        bool(word.get("ignore")) or text == DONT_CARE
        for word, text in zip(page.words.values(), shapes.texts, strict=True)
    ]
    return shapes


def _first_fault(said: _Said, name: str, fewest: int) -> InputError:
    """That of the first word with one, and its place."""
    for number, (identifier, word) in enumerate(said.page.words.items()):
        try:
            _polygons([word], fewest)
        except InputError as error:
            return InputError(f"{_place(said, name, identifier, number)}: {error}")
    raise AssertionError("a page has no fault that none of its words has")


def _place(said: _Said, name: str, identifier: str, number: int) -> str:
    if _is_text(said.file):
        return f"{said.file.path}: line {said.file.lines[number][0]}"
    return f"{said.file.path}: {name}: word {identifier}"


def _in_pixels(said: _Said, names: Sequence[str], images: Path | None) -> dict[str, Any]:
    page, found = said.page, None if images is None else image_of(names, images)
    size = None if page.size is None else numbers(page.size)
    width, height = image_size(found) if found is not None else size or (0, 0)
    if page.words and not (width and height):
        where = "; give" if images is None else f", and which is not in {images}; give"
        raise InputError(
            f"{said.file.path}: {names[0]}: its points are shares of an image whose size it does "
            f"not say{where} the folder of the images, as in images=FOLDER"
        )
    return in_pixels(page.words, width, height)  # type: ignore[arg-type]


def image_of(names: Sequence[str], folder: Path) -> Path | None:
    """The image in a folder that has one of the names, with any suffix where that has none."""
    for name in names:
        for path in (folder / name, *(folder / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES)):
            if is_called_image(path) and file_of(path).is_file():
                return path
    return None


def _polygons(words: Sequence[Any], fewest: int) -> list[NDArray[np.float64]]:
    """The outlines of words, `(K >= fewest, 2)` each, all at once.

    InputError without a place where a word is not as it should be: of the words together it is
    that of any, of one alone its first.
    """
    for word in words:
        if not isinstance(word, dict) or not isinstance(word.get("points"), list):
            got = shown(word.get("points") if isinstance(word, dict) else word)
            raise InputError(f"must hold points as a list of [x, y], got {got}")
    outlines: list[list[Any]] = [word["points"] for word in words]
    points = [*chain.from_iterable(outlines)]
    if not (
        {list} >= {*map(type, points)}
        and {2} >= {*map(len, points)}
        and {int, float} >= {*map(type, chain.from_iterable(points))}
    ):
        raise InputError(f"every point must be two numbers [x, y], got {shown(outlines[0])}")
    for word in words:
        text, ignore = word.get("transcription"), word.get("ignore")
        if not isinstance(text, (str, type(None))):
            raise InputError(f"transcription must be text or null, got {shown(text)}")
        if not isinstance(ignore, (bool, type(None))):
            raise InputError(f"ignore must be true or false, got {shown(ignore)}")
    try:
        flat = np.array([*chain.from_iterable(points)], dtype=np.float64).reshape(-1, 2)
    except OverflowError:
        raise InputError(f"coordinates must fit a float, got {shown(outlines[0])}") from None
    counts = [*map(len, outlines)]
    _check_fewest(min(counts, default=fewest), fewest)
    return [flat[end - count : end] for count, end in zip(counts, accumulate(counts), strict=True)]


def _check_fewest(count: int, fewest: int) -> None:
    """Raise InputError for an outline of too few points, which is no word without an area."""
    if count >= fewest:
        return
    if fewest > _FEWEST_POINTS:
        raise InputError(f"must be x1,y1,...,x4,y4,text, got {count} points")
    raise InputError(
        f"a detection must have at least {_FEWEST_POINTS} points, as in x1,y1,...,x4,y4, "
        f"got {count}; write all corners of a box"
    )


def _unquoted(text: str | None) -> str | None:
    """A text without double quotes around it and backslashes before inner ones."""
    bare = text.strip() if text and '"' in text else ""
    if len(bare) < 2 or not bare.startswith('"') or not bare.endswith('"'):
        return text
    return bare[1:-1].replace("\\\\", "\\").replace('\\"', '"')
