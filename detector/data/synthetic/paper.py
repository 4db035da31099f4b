"""A synthetic receipt printed on flat paper, with the box of every word."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from detector.core.face import load_face
from detector.data.synthetic.text import Cell, Receipt, Row

# Row heights of things that are not text, in ems.
GRAPHIC_EMS = {"barcode": 3.2, "qr": 5.5, "logo": 3.5}


@dataclass(frozen=True)
class PrintedWord:
    """A word and its tight box `(left, top, right, bottom)` in paper pixels."""

    text: str
    box: tuple[float, float, float, float]
    ignore: bool = False


@dataclass(frozen=True, eq=False)
class Paper:
    """A printed sheet. Masks are `(H, W)` uint8, 255 where covered.

    `ink`: the printer's, `pen`: handwriting (never annotated), `sheet`: the paper, whose ends
    may be torn. `words` are in reading order.
    """

    ink: NDArray[np.uint8]
    pen: NDArray[np.uint8] | None
    sheet: NDArray[np.uint8]
    words: tuple[PrintedWord, ...]


def print_receipt(
    receipt: Receipt, font: Path, *, height_px: int, rng: np.random.Generator
) -> Paper:
    """Print a receipt on a sheet about `height_px` high, one or more words perhaps smudged."""
    pitch = rng.uniform(1.2, 1.55)
    ems = sum(_row_ems(row, pitch) for row in receipt.rows) + 2.5
    em = int(np.clip(height_px / ems, 8, 64))
    words: list[PrintedWord] = []
    canvas = _Canvas(receipt, font, em=em, height=int(ems * em), rng=rng)
    y = em * rng.uniform(0.8, 1.6)
    for row in receipt.rows:
        row_height = _row_ems(row, pitch) * em
        words += canvas.row(row, y, row_height)
        y += row_height
    ink = _worn(np.asarray(canvas.image).copy(), em, rng)
    if words and rng.random() < 0.3:
        words = _smudge(ink, words, em, rng)
    pen = _scribbles(ink.shape, em, rng) if rng.random() < 0.2 else None
    return Paper(ink, pen, _sheet(ink.shape, em, rng), tuple(words))


def _row_ems(row: Row, pitch: float) -> float:
    if row.graphic:
        return GRAPHIC_EMS[row.graphic] + 0.6
    return pitch * (row.scale if row.cells else 0.8)


class _Canvas:
    """Draws rows; remembers what all of them share: the font, the em and the margins."""

    def __init__(
        self, receipt: Receipt, font: Path, *, em: int, height: int, rng: np.random.Generator
    ) -> None:
        self.font, self.em, self.rng = font, em, rng
        self.left = em * rng.uniform(0.7, 2.0)
        # Receipt printers stretch their glyphs; the roll is as much wider or narrower.
        self.column = em / 2 * rng.uniform(0.98, 1.12)
        self.bold = bool(rng.random() < 0.3)
        self.text_width = receipt.columns * self.column
        self.image = Image.new("L", (int(self.text_width + 2 * self.left), height), 0)
        self.draw = ImageDraw.Draw(self.image)

    def row(self, row: Row, y: float, height: float) -> list[PrintedWord]:
        if row.rule:
            self._rule(row.rule, y + height / 2)
        elif row.graphic:
            self._graphic(row.graphic, y + 0.3 * self.em)
        size = max(6, round(self.em * row.scale))
        while size > 6 and not self._fits(row, size):  # a font wider than the columns allow for
            size -= max(1, size // 12)
        stroke = max(1, size // 24) if row.bold or self.bold else 0
        baseline = y + height / 2 + 0.36 * size
        return [word for cell in row.cells for word in self._cell(cell, size, baseline, stroke)]

    def _start(self, cell: Cell, face: ImageFont.FreeTypeFont) -> float:
        share = {"left": 0.0, "centre": 0.5, "right": 1.0}[cell.align]
        return self.left + cell.column * self.column - share * _advance(cell.text, face)

    def _fits(self, row: Row, size: int) -> bool:
        """Whether the cells stay on the roll and apart from each other."""
        face = load_face(self.font, size)
        gap = 0.5 * size
        end = self.left - gap - 1
        for cell in row.cells:  # from left to right
            start = self._start(cell, face)
            if start < end + gap:
                return False
            end = start + _advance(cell.text, face)
        return end <= self.left + self.text_width + 1

    def _cell(self, cell: Cell, size: int, baseline: float, stroke: int) -> list[PrintedWord]:
        face = load_face(self.font, size)
        x = self._start(cell, face)
        words = []
        position = 0
        for text in cell.text.split():
            position = cell.text.index(text, position)
            start = x + _advance(cell.text[:position], face)
            words.append(self._word(text, start, baseline, face, stroke))
            position += len(text)
        return words

    def _word(
        self, text: str, x: float, baseline: float, face: ImageFont.FreeTypeFont, stroke: int
    ) -> PrintedWord:
        origin = (round(x), round(baseline))
        self.draw.text(origin, text, fill=255, font=face, anchor="ls", stroke_width=stroke)
        left, top, right, bottom = face.getbbox(text, anchor="ls", stroke_width=stroke)
        # A hyphen or a star alone would be a sliver: at least the height of a digit counts.
        _, digit_top, _, digit_bottom = face.getbbox("0", anchor="ls", stroke_width=stroke)
        top, bottom = min(top, digit_top), max(bottom, digit_bottom)
        ox, oy = origin
        return PrintedWord(text, (ox + left - 1, oy + top - 1, ox + right + 1, oy + bottom + 1))

    def _rule(self, rule: str, y: float) -> None:
        x0, x1 = self.left, self.left + self.text_width
        thick = max(1, self.em // 12)
        if rule in "-=*":
            face = load_face(self.font, self.em)
            count = int(self.text_width / max(face.getlength(rule), 1))
            self.draw.text((x0, y + 0.3 * self.em), rule * count, fill=255, font=face, anchor="ls")
        elif rule == "dashed":
            step = 0.5 * self.em
            for x in np.arange(x0, x1, step):
                self.draw.line((x, y, min(x + 0.6 * step, x1), y), fill=255, width=thick)
        elif rule in ("line", "double"):
            for shift in (0,) if rule == "line" else (-thick, thick + 1):
                self.draw.line((x0, y + shift, x1, y + shift), fill=255, width=thick)

    def _graphic(self, kind: str, y: float) -> None:
        height = GRAPHIC_EMS[kind] * self.em
        middle = self.left + self.text_width / 2
        if kind == "barcode":
            self._barcode(middle, y, height)
        elif kind == "qr":
            self._qr(middle, y, height)
        else:
            self._logo(middle, y, height)

    def _barcode(self, middle: float, y: float, height: float) -> None:
        module = max(1, round(0.7 * self.text_width / 110))
        x = middle - 55 * module
        end = middle + 55 * module
        while x < end:
            bar, gap = self.rng.integers(1, 4, size=2) * module
            self.draw.rectangle((x, y, x + bar - 1, y + height), fill=255)
            x += bar + gap

    def _qr(self, middle: float, y: float, height: float) -> None:
        modules = self.rng.random((25, 25)) < 0.5
        finder = np.pad(np.pad(np.ones((3, 3), bool), 1), 1, constant_values=True)
        for row, column in ((0, 0), (0, 18), (18, 0)):
            modules[max(row - 1, 0) : row + 8, max(column - 1, 0) : column + 8] = False
            modules[row : row + 7, column : column + 7] = finder
        side = int(height)
        code = Image.fromarray(modules.astype(np.uint8) * 255)
        self.image.paste(
            code.resize((side, side), Image.Resampling.NEAREST), (int(middle - side / 2), int(y))
        )

    def _logo(self, middle: float, y: float, height: float) -> None:
        """A few solid and hollow shapes: ink that is not text."""
        half = height * self.rng.uniform(0.5, 1.2)
        box = (middle - half, y, middle + half, y + height)
        if self.rng.random() < 0.5:
            self.draw.ellipse(
                box, fill=255 if self.rng.random() < 0.5 else None, outline=255, width=3
            )
        else:
            self.draw.rounded_rectangle(box, height / 4, outline=255, width=3)
        for _ in range(3):
            angle = self.rng.uniform(0, 2 * np.pi, 3)
            radius = height * self.rng.uniform(0.15, 0.45)
            corners = [
                (middle + radius * np.cos(a), y + height / 2 + radius * np.sin(a)) for a in angle
            ]
            self.draw.polygon(corners, fill=int(self.rng.choice((0, 255))), outline=255)


def _advance(text: str, face: ImageFont.FreeTypeFont) -> float:
    """Length of a text in pixels, its spaces at least 0.4 em so that words stay apart."""
    widening = max(0.0, 0.4 * face.size - face.getlength(" "))
    return face.getlength(text) + widening * text.count(" ")


def _worn(ink: NDArray[np.uint8], em: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The print as it comes out: dots, dead printing elements, uneven heat."""
    height, across = ink.shape
    strength = np.full((height, across), 1.0, np.float32)
    if rng.random() < 0.6:
        patches = rng.uniform(0.65, 1.1, (6, 4)).astype(np.float32)
        strength *= cv2.resize(patches, (across, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.2:  # dot-matrix: the needles leave rows and columns of gaps
        step = max(2, em // 9)
        strength[::step] *= 0.45
        strength[:, ::step] *= 0.6
    if rng.random() < 0.2:  # dead thermal elements leave light stripes down the roll
        for x in rng.integers(0, across, rng.integers(1, 4)):
            strength[:, x : x + int(rng.integers(1, 3))] *= 0.3
    if rng.random() < 0.3:
        strength *= 1 - 0.5 * (rng.random((height, across), dtype=np.float32) < 0.15)
    return np.clip(ink * strength, 0, 255).astype(np.uint8)


def _smudge(
    ink: NDArray[np.uint8], words: list[PrintedWord], em: int, rng: np.random.Generator
) -> list[PrintedWord]:
    """Rub one to three words out of shape, in place, and mark them as don't care."""
    chosen = set(rng.choice(len(words), size=int(rng.integers(1, 4))).tolist())
    for index in chosen:
        left, top, right, bottom = (max(0, int(v)) for v in words[index].box)
        area = ink[top:bottom, left:right]
        length = int(max(3, em * rng.uniform(0.8, 1.6)))
        area[:] = cv2.blur(area, (length, max(2, em // 3)))
    return [
        PrintedWord(word.text, word.box, ignore=index in chosen) for index, word in enumerate(words)
    ]


def _sheet(shape: tuple[int, ...], em: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The outline of the paper: straight sides, ends cut straight or torn in a zigzag."""
    height, across = shape
    sheet = np.full((height, across), 255, np.uint8)
    for end in (sheet, sheet[::-1]):
        if rng.random() < 0.5:
            tooth = max(2, em // 5)
            cut = np.abs(np.arange(across) % (2 * tooth) - tooth) * rng.uniform(0.2, 0.8)
            end[: tooth + 1][np.arange(tooth + 1)[:, None] < cut] = 0
    return sheet


def _scribbles(shape: tuple[int, ...], em: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Handwriting-like strokes: loops running along a line, ticks and underlines."""
    height, across = shape
    pen = np.zeros((height, across), np.uint8)
    thick = max(1, em // 9)
    for _ in range(rng.integers(1, 4)):
        start = rng.uniform((0.1, 0.05), (0.6, 0.95)) * (across, height)
        t = np.linspace(0, 1, 60)[:, None]
        length = rng.uniform(2, 9) * em
        loops = rng.uniform(2, 6)
        phase = rng.uniform(0, 2 * np.pi, 4)
        wave = np.hstack(
            [np.cos(2 * np.pi * loops * t + phase[0]), np.sin(2 * np.pi * loops * t + phase[1])]
        )
        slow = np.hstack([np.cos(5 * t + phase[2]), np.sin(4 * t + phase[3])])
        path = start + t * (length, rng.uniform(-1, 1) * em) + em * (0.7 * wave + 0.5 * slow)
        points = np.rint(path * 8).astype(np.int32)
        cv2.polylines(pen, [points], False, 255, thick, cv2.LINE_AA, shift=3)
    return pen
