"""What CLEval counted on one page, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from detector.core.draw import SHIFT, fixed_point
from detector.core.face import BUNDLED, load_face
from detector.metrics.cleval import PageCounts, PageMatch
from detector.metrics.explain import Kind, detection_kinds, found_of, score_lines
from detector.metrics.polygons import Points, as_points

Colour = tuple[int, int, int]

# From the palette of Okabe and Ito (2008), told apart in every kind of colour blindness.
WORD: Colour = (0, 114, 178)
COLOURS: dict[Kind, Colour] = {
    "matched": (0, 158, 115),
    "split": (230, 159, 0),
    "merged": (204, 121, 167),
    "false": (213, 94, 0),
    "forgiven": (128, 128, 128),
}
_LEGEND: dict[Kind, str] = {
    "matched": "matched",
    "split": "one of several on a word",
    "merged": "on several words",
    "false": "false positive",
    "forgiven": "on an ignored word",
}
_INK: Colour = (30, 30, 30)
_PAPER: Colour = (255, 255, 255)
_FONT = BUNDLED / "ReceiptSansKR.ttf"
_SIDE_PX = 2000.0  # of pages drawn without their image
_LARGEST_PX = 2**13  # the longest side of a picture without a photo
_WORD_SHARE = 0.22  # how strongly the fill of a word covers the page


def picture_of(
    match: PageMatch, detections: Sequence[ArrayLike], image: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """`draw_page` on the page's image, or on white, with words within `_SIDE_PX` there."""
    largest = max((float(shape.max()) for shape in match.words.shapes), default=1.0)
    scale = 1.0 if image is not None else min(1.0, _SIDE_PX / max(largest, 1.0))
    return draw_page(match, detections, image, scale=scale)


def draw_page(
    match: PageMatch,
    detections: Sequence[ArrayLike],
    image: NDArray[np.uint8] | None = None,
    *,
    scale: float = 1.0,
    label_all: bool = False,
) -> NDArray[np.uint8]:
    """The page with everything that was counted on it, over a legend and the scores.

    Words are filled blue (ignored ones grey); those that cost anything carry "found/characters".
    Their pseudo-character centres are dots, filled when found and hollow when missed.
    Detections are outlined in the colour of their kind, and what they cost stands beside them.

    Args:
        match: of the page's words with `detections`, from `Words.match`.
        detections: the (K, 2) xy polygons that were matched, in pixels of the page.
        image: (H, W, 3) uint8 RGB, shown paler; None draws on white, as far as shapes reach.
        scale: picture pixels per page pixel; labels need words of about 20 picture pixels.
        label_all: also label words found whole.

    Returns:
        (H', W', 3) uint8 RGB.

    Raises:
        ValueError: when `detections` are not as many as were matched, or scale is not
            positive.
    """
    if len(detections) != len(match.forgiven):
        raise ValueError(
            f"detections: need the {len(match.forgiven)} that were matched, got {len(detections)}"
        )
    if not scale > 0:
        raise ValueError(f"scale: must be above 0, got {scale}")
    words = [shape * scale for shape in match.words.shapes]
    outlines = [as_points(polygon) * scale for polygon in detections]
    height = _height(words)
    canvas = _paper(image, [*words, *outlines], scale)
    _draw_words(canvas, words, match.words.ignored)
    for outline, kind in zip(outlines, detection_kinds(match), strict=True):
        _outline(canvas, outline, COLOURS[kind], int(np.clip(round(0.08 * height), 1, 3)))
    counted = ~match.words.ignored[match.words.owner]
    radius = float(np.clip(0.13 * height, 1.5, 8))
    _draw_centres(canvas, match.words.centres[counted] * scale, match.found()[counted], radius)
    page = Image.fromarray(canvas)
    size = int(np.clip(0.55 * height, 9, 20))
    _write_labels(ImageDraw.Draw(page), match, words, outlines, size, label_all)
    return np.concatenate([np.asarray(page), _caption(page.width, match.counts()[0])])


def _paper(
    image: NDArray[np.uint8] | None, shapes: Sequence[Points], scale: float
) -> NDArray[np.uint8]:
    """The page to draw on; a photo is made paler, so that the marks stand out."""
    if image is None:
        far = np.max([s.max(axis=0) for s in shapes if len(s)] or [[0.0, 0.0]], axis=0)
        width, height = np.clip(far + 30 * max(scale, 1), 64, _LARGEST_PX).astype(int).tolist()
        return np.full((height, width, 3), 255, np.uint8)
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(image), size, interpolation=way)
    return np.asarray(255 - (255 - resized.astype(np.float32)) * 0.6).astype(np.uint8)


def _draw_words(
    canvas: NDArray[np.uint8], words: Sequence[Points], ignored: NDArray[np.bool_]
) -> None:
    fills = canvas.copy()
    colours = [COLOURS["forgiven"] if i else WORD for i in ignored.tolist()]
    for word, colour in zip(words, colours, strict=True):
        cv2.fillPoly(fills, [fixed_point(word)], colour, cv2.LINE_AA, SHIFT)
    cv2.addWeighted(fills, _WORD_SHARE, canvas, 1 - _WORD_SHARE, 0, dst=canvas)
    for word, colour in zip(words, colours, strict=True):
        _outline(canvas, word, colour, 1)


def _draw_centres(
    canvas: NDArray[np.uint8], centres: Points, found: NDArray[np.bool_], radius: float
) -> None:
    for centre, hit in zip(fixed_point(centres), found.tolist(), strict=True):
        around = (int(centre[0]), int(centre[1])), round(radius * 2**SHIFT)
        cv2.circle(canvas, *around, WORD if hit else _PAPER, -1, cv2.LINE_AA, SHIFT)
        cv2.circle(canvas, *around, WORD, 1, cv2.LINE_AA, SHIFT)


def _height(words: Sequence[Points]) -> float:
    """The median thickness of words, in picture pixels; 20 without words."""
    sides = [min(cv2.minAreaRect(word.astype(np.float32))[1]) for word in words]
    return float(np.median(sides)) if sides else 20.0


def _labels(match: PageMatch, label_all: bool) -> tuple[list[str], list[str]]:
    """What stands beside each kept word and each detection; "" for nothing."""
    pairs = match.matched()
    found, of = found_of(match)
    words = []
    for ignored, f, n, parts in zip(
        match.words.ignored.tolist(), found, of, pairs.sum(axis=1).tolist(), strict=True
    ):
        whole = ignored or (f == n and parts < 2)
        text = "ignored" if ignored else f"{f}/{n}" + (f", {parts} parts" if parts > 1 else "")
        words.append(text if label_all or not whole else "")
    merged, false = pairs.sum(axis=0).tolist(), match.false_characters.tolist()
    costs = {"merged": "merges {0}", "false": "false {1}"}
    return words, [
        costs.get(kind, "").format(merged[i], false[i])
        for i, kind in enumerate(detection_kinds(match))
    ]


def _write_labels(
    pen: ImageDraw.ImageDraw,
    match: PageMatch,
    words: Sequence[Points],
    outlines: Sequence[Points],
    size: int,
    label_all: bool,
) -> None:
    """Above the first corner of words, and below the last of detections."""
    face, halo = load_face(_FONT, size), max(2, size // 6)
    of_words, of_detections = _labels(match, label_all)
    for word, label, ignored in zip(words, of_words, match.words.ignored.tolist(), strict=True):
        x, y = word[word.sum(axis=1).argmin()].tolist()
        place, colour = (
            (max(x, 2), max(y - 4 - halo, size)),
            COLOURS["forgiven"] if ignored else WORD,
        )
        pen.text(place, label, colour, face, "ld", stroke_width=halo, stroke_fill=_PAPER)
    kinds = detection_kinds(match)
    for outline, label, kind in zip(outlines, of_detections, kinds, strict=True):
        if label and len(outline):
            x, y = outline[outline.sum(axis=1).argmax()].tolist()
            colour = _darker(COLOURS[kind])
            pen.text(
                (x, y + 4 + halo), label, colour, face, "ra", stroke_width=halo, stroke_fill=_PAPER
            )


def _caption(width: int, counts: PageCounts) -> NDArray[np.uint8]:
    """The legend and the scores, (H, width, 3) uint8, in as many lines as they need."""
    size = int(np.clip(width / 55, 9, 22))
    face = load_face(_FONT, size)
    legend = [("word, a dot per character (filled: found)", WORD)]
    legend += [(_LEGEND[kind], colour) for kind, colour in COLOURS.items()]
    lines = score_lines(counts)
    strip = Image.new("RGB", (width, size * 2 * (len(legend) + len(lines) + 2)), _PAPER)
    pen = ImageDraw.Draw(strip)
    pen.line((0, 0, width, 0), COLOURS["forgiven"])
    x, y = size, size
    for text, colour in legend:
        length = 2 * size + face.getlength(text)
        if x > size and x + length + size > width:
            x, y = size, y + size * 7 // 4
        is_word = colour == WORD
        fill = tuple(round(255 - (255 - c) * _WORD_SHARE) for c in colour) if is_word else None
        box = (x, y, x + size * 8 // 5, y + size * 9 // 10)
        pen.rectangle(box, fill, colour, 1 if is_word else max(2, size // 6))
        pen.text((x + 2 * size, y + size * 9 // 10), text, _INK, face, "ls")
        x += round(length) + 2 * size
    for text in lines:
        y += size * 7 // 4
        pen.text((size, y + size * 9 // 10), text, _INK, face, "ls")
    return np.asarray(strip)[: y + size * 2]


def _outline(canvas: NDArray[np.uint8], outline: Points, colour: Colour, width: int) -> None:
    if len(outline):
        cv2.polylines(canvas, [fixed_point(outline)], True, colour, width, cv2.LINE_AA, SHIFT)


def _darker(colour: Colour) -> Colour:
    """Light lines are seen, light letters on paper are not."""
    red, green, blue = (c * 3 // 4 for c in colour)
    return red, green, blue
