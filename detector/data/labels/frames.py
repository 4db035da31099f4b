"""Raw points brought to pixels of the upright image: from shares of it, or from the stored one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from detector.data.raw.shapes import numbers

Move = Callable[[float, float], tuple[float, float]]


def in_pixels(words: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    """Words whose points are fractions of the image's size."""
    return _moved(words, lambda x, y: (x * width, y * height))


def upright(words: Mapping[str, Any], orientation: int, size: tuple[int, int]) -> dict[str, Any]:
    """Words whose points lie on the image as it is stored, `size` wide and high there.

    orientation: of EXIF 2.32, tag 274, from 1 to 8: what turns it into the displayed image.
    """
    width, height = size
    moves: dict[int, Move] = {
        2: lambda x, y: (width - x, y),
        3: lambda x, y: (width - x, height - y),
        4: lambda x, y: (x, height - y),
        5: lambda x, y: (y, x),
        6: lambda x, y: (height - y, x),
        7: lambda x, y: (height - y, width - x),
        8: lambda x, y: (y, width - x),
    }
    return _moved(words, moves[orientation]) if orientation in moves else dict(words)


def _moved(words: Mapping[str, Any], move: Move) -> dict[str, Any]:
    """The words with their points moved; what is no point stays, for the check to tell."""
    return {
        key: {**raw, "points": [_point(p, move) for p in raw["points"]]}
        if isinstance(raw, Mapping) and isinstance(raw.get("points"), list)
        else raw
        for key, raw in words.items()
    }


def _point(point: Any, move: Move) -> Any:
    pair = numbers(point) if isinstance(point, list | tuple) and len(point) == 2 else None
    return point if pair is None else [*move(pair[0], pair[1])]
