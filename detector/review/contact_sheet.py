"""Words to look at as pictures: a crop of each with its surroundings, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from detector.core.face import BUNDLED, load_face
from detector.core.geometry import Points
from detector.data.labels.exclusion import Suspicion
from detector.data.labels.pages import Page
from detector.data.page.images import read_image

#: Most words on one sheet: more cannot be read in a picture that fits a screen.
MOST = 60
#: Most sheets: nobody looks through more words than these have.
SHEETS = 20

_COLUMNS = 5
_CROP_PX = (300, 130)  # width and height of a crop on the sheet
_GAP_PX = 12
_FONT_PX = 15
_LINE_PX = 19
_FONT = BUNDLED / "ReceiptSansKR.ttf"
_INK, _PAPER = (30, 30, 30), (255, 255, 255)
# From the palette of Okabe and Ito (2008), told apart in every kind of colour blindness.
_COLOURS = {
    "blank": (213, 94, 0),
    "duplicate": (0, 114, 178),
    "off-paper": (204, 121, 167),
    "tiny": (0, 158, 115),
    "watermark": (230, 159, 0),
}
_OTHER = (170, 0, 60)
# How much of the page is shown around a word, in its thicknesses and pixels.
_AROUND_HEIGHTS, _AROUND_PX = 1.5, 12.0


def draw_sheets(suspicions: Sequence[tuple[Page, Suspicion]]) -> Iterator[NDArray[np.uint8]]:
    """`MOST` words on each of up to `SHEETS`, highest scores first; `(H, W, 3)` uint8 RGB.

    Row by row, and one sheet where there is none. Under each crop stand its rank, kind and score,
    then page and word, then the reason. Takes each suspicion with the page that has its word, and
    reads the images of those shown. Raises InputError when one cannot be read.
    """
    ordered = sorted(suspicions, key=lambda pair: -pair[1].score)
    title = f"{len(ordered)} suspicious words"
    if len(ordered) <= MOST:
        yield _sheet(title, ordered, 1)
        return
    for first in range(0, min(len(ordered), MOST * SHEETS), MOST):
        shown = ordered[first : first + MOST]
        yield _sheet(f"{title}, {first + 1} to {first + len(shown)}", shown, first + 1)


def _sheet(title: str, shown: Sequence[tuple[Page, Suspicion]], first: int) -> NDArray[np.uint8]:
    """The words as crops under the title; `first` is the rank of the first one."""
    rows = max(1, -(-len(shown) // _COLUMNS))
    width, height = _cell_size()
    head = 2 * _LINE_PX
    sheet = Image.new("RGB", (_COLUMNS * width + _GAP_PX, rows * height + head), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP_PX, head // 2), title, _INK, load_face(_FONT, _FONT_PX + 3), "lm")
    for i, (page, suspicion) in enumerate(shown):
        outline = _outline(page, suspicion)
        x, y = _GAP_PX + i % _COLUMNS * width, head + i // _COLUMNS * height
        colour = _COLOURS.get(suspicion.kind, _OTHER)
        crop = crop_word(read_image(page.path), outline, colour)
        sheet.paste(Image.fromarray(crop), (x, y))
        _caption(pen, (x, y + _CROP_PX[1] + 4), first + i, suspicion)
    return np.asarray(sheet)


def crop_word(
    image: NDArray[np.uint8], points: Points, colour: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """The word with its surroundings and its outline; the area beyond the page is grey.

    Always `_CROP_PX` in size: the window around the word is widened to that shape.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    around = _AROUND_HEIGHTS * min(cv2.minAreaRect(points)[1]) + _AROUND_PX
    size = np.asarray(high - low + 2 * around, np.float64)
    scale = float(np.min(np.array(_CROP_PX) / size))
    origin = (low + high) / 2 - np.array(_CROP_PX) / scale / 2
    matrix = np.array([[scale, 0, -origin[0] * scale], [0, scale, -origin[1] * scale]])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    crop = cv2.warpAffine(image, matrix, _CROP_PX, flags=way, borderValue=(200, 200, 200))
    outline = np.rint((points - origin) * scale * 16).astype(np.int32)
    cv2.polylines(crop, [outline], True, colour, 2, cv2.LINE_AA, 4)
    return np.asarray(crop, np.uint8)


def _outline(page: Page, suspicion: Suspicion) -> Points:
    if suspicion.points is not None:
        return np.array(suspicion.points, np.float32)
    return next(word.points for word in page.words if word.id == suspicion.word)


def _cell_size() -> tuple[int, int]:
    return _CROP_PX[0] + _GAP_PX, _CROP_PX[1] + 3 * _LINE_PX + 2 * _GAP_PX


def _caption(
    pen: ImageDraw.ImageDraw, place: tuple[int, int], rank: int, suspicion: Suspicion
) -> None:
    face = load_face(_FONT, _FONT_PX)
    lines = [
        f"{rank}. {suspicion.kind}  {suspicion.score:.2f}",
        f"{suspicion.page}  {suspicion.word}",
        suspicion.reason,
    ]
    colour = tuple(c * 3 // 4 for c in _COLOURS.get(suspicion.kind, _OTHER))
    for number, line in enumerate(lines):
        fill = colour if number == 0 else _INK
        top = place[1] + number * _LINE_PX
        pen.text((place[0], top), _shortened(line, face.getlength), fill, face, "la")


def _shortened(text: str, length: Callable[[str], float]) -> str:
    """The text, cut in its middle until it is no wider than a crop."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    keep = len(text)
    shown = text
    while length(shown) > _CROP_PX[0] and keep > 8:
        keep -= 1
        shown = f"{text[: keep // 2]}...{text[-(keep - keep // 2) :]}"
    return shown
