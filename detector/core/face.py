"""The bundled fonts, which hold ASCII and the Hangul of the synthetic receipts."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

BUNDLED = Path(__file__).parent / "fonts"


@lru_cache(maxsize=256)
def load_face(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """A font at `size` pixels per em. Raises OSError when FreeType cannot read the file."""
    # The basic engine draws alike whether or not Pillow finds libraqm on the machine.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
