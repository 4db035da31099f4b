"""Pages of PDF files, drawn by pdfium (the package pypdfium2, an extra).

A page of a PDF of several is called `a.pdf#page=2`, as RFC 8118 has it; the path of such a page
is that of its file with this name.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from detector.core.errors import InputError

SUFFIX = ".pdf"
DPI = 200  # what scanners of receipts give; a letter of 8 points is 22 pixels high
#: Most pages of a file: a short one may claim a million, each of which would be a page to read.
MAX_PAGES = 10_000

_NAME = re.compile(rf"(.+{re.escape(SUFFIX)})#page=([1-9][0-9]{{0,6}})", re.IGNORECASE | re.DOTALL)
_POINTS_AN_INCH = 72
_LOOK_BYTES = 1024  # from the end, where readers look for the mark that ends a file
_PASSWORD, _SECURITY = 4, 5  # FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY

AnyPath = TypeVar("AnyPath", bound=PurePath)


def page_name(file: str, number: int) -> str:
    """What page `number`, from 1 on, of a PDF file of several pages is called."""
    return f"{file}#page={number}"


def file_of(path: AnyPath) -> AnyPath:
    """The file that holds a page of a PDF; any other path is its own."""
    found = _NAME.fullmatch(path.name)
    return path if found is None else path.with_name(found[1])


def is_pdf(path: PurePath) -> bool:
    """Whether a path is called as a PDF file is, or a page of one."""
    return file_of(path).suffix.lower() == SUFFIX


def count_pages(path: Path) -> int:
    """How many pages a PDF file has; raises as `opened` does."""
    with _document(path) as document:
        return len(document)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The page of pdfium that `path` means: the one it names, or the only one of a file.

    pdfium knows no threads and keeps state within a process, so a file is open within this alone.
    Raises InputError that names the file and the remedy for one that is damaged, encrypted, without
    pages or without that page, and where pypdfium2 is not installed; OSError as `open`.
    """
    file = file_of(path)
    found = _NAME.fullmatch(path.name)
    with _document(file) as document:
        count = len(document)
        if found is None and count > 1:
            raise InputError(f"{file}: has {count} pages; name one, as {page_name(file.name, 1)}")
        number = 1 if found is None else int(found[2])
        if number > count:
            raise InputError(f"{file}: has no page {number}, but {count}; correct the number")
        document.init_forms()  # before the page, or its fields are not drawn
        try:
            page = document[number - 1]
        except RuntimeError as error:
            raise InputError(f"{path}: a broken page ({error}); save the file anew") from None
        yield page


def size_px(page: Any) -> tuple[int, int]:
    """`(width, height)` of a page as it is drawn: at DPI, upright, at least a pixel each."""
    width, height = (max(1, round(side * DPI / _POINTS_AN_INCH)) for side in page.get_size())
    return width, height


def drawn(page: Any) -> NDArray[np.uint8]:
    """The page as `(H, W, 3)` uint8 RGB of its `size_px` on white, with notes and form fields."""
    raw = _pdfium().raw
    width, height = size_px(page)
    picture = np.full((height, width, 3), 255, np.uint8)
    whole = 0, 0, width, height, 0, raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER
    bitmap = raw.FPDFBitmap_CreateEx(
        width, height, raw.FPDFBitmap_BGR, picture.ctypes.data, picture.strides[0]
    )
    try:
        raw.FPDF_RenderPageBitmap(bitmap, page, *whole)
        if page.formenv is not None:
            raw.FPDF_FFLDraw(page.formenv, bitmap, page, *whole)
    finally:
        raw.FPDFBitmap_Destroy(bitmap)
    return picture


@contextmanager
def _document(path: Path) -> Iterator[Any]:
    pdfium = _pdfium(path)
    with path.open("rb") as file:
        _require_whole(path, file)
    # Not by the class, which takes the last error of any file for that of one without pages.
    handle = pdfium.raw.FPDF_LoadDocument(os.fsencode(path), None)
    if not handle:
        raise InputError(f"{path}: {_why_not(pdfium.raw.FPDF_GetLastError())}")
    with pdfium.PdfDocument(handle) as document:
        if len(document) == 0:
            raise InputError(f"{path}: a PDF without pages; remove it")
        if len(document) > MAX_PAGES:
            raise InputError(
                f"{path}: has {len(document)} pages, but at most {MAX_PAGES} are read; part it"
            )
        yield document


def _require_whole(path: Path, file: BinaryIO) -> None:
    """Raise InputError for a file that is cut off, of which pdfium would draw what is left."""
    size = file.seek(0, 2)
    if size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes); copy it again or remove it")
    file.seek(max(0, size - _LOOK_BYTES))
    if b"%%EOF" not in file.read():
        raise InputError(f"{path}: no PDF, or cut off: has no %%EOF; copy it again or remove it")


def _why_not(error: int) -> str:
    if error in (_PASSWORD, _SECURITY):
        return "is encrypted, and no password is asked for; save it without one"
    return f"broken, or no PDF (error {error} of pdfium); copy it again or remove it"


def _pdfium(path: Path | None = None) -> ModuleType:
    try:
        return importlib.import_module("pypdfium2")
    except ImportError as error:
        raise InputError(
            f"{path}: PDF files need the package pypdfium2 ({error}); "
            "pip install -e '.[pdf]', or save the pages as images"
        ) from None
