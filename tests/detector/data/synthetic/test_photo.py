from __future__ import annotations

import numpy as np
import pytest

from detector.core.face import BUNDLED
from detector.core.geometry import polygon_area, signed_area
from detector.data.synthetic.fonts import fonts_below
from detector.data.synthetic.paper import print_receipt
from detector.data.synthetic.photo import TEXTURES, photograph
from detector.data.synthetic.text import write_blank, write_receipt

FONT = fonts_below(BUNDLED)[0]


def take(seed, side=384):
    rng = np.random.default_rng(seed)
    paper = print_receipt(write_receipt("ko", rng), FONT, height_px=side, rng=rng)
    return paper, photograph(paper, longest_side_px=side, rng=rng)


@pytest.mark.parametrize("seed", range(12))
def test_a_photo_shows_every_word(seed):
    paper, photo = take(seed)
    height, width = photo.image.shape[:2]
    assert photo.image.dtype == np.uint8
    assert max(height, width) == 384
    assert len(photo.polygons) == len(paper.words)
    for polygon in photo.polygons:
        assert polygon.dtype == np.float32
        assert polygon.shape in ((4, 2), (8, 2))
        assert (polygon >= 0).all()
        assert (polygon <= (width - 1, height - 1)).all()
        assert signed_area(polygon) > 0  # clockwise on screen
        assert polygon_area(polygon) > 4


def test_curved_words_occur():
    lengths = {len(p) for seed in range(4) for p in take(seed, side=640)[1].polygons}
    assert lengths == {4, 8}


def test_a_sheet_without_words():
    rng = np.random.default_rng(0)
    paper = print_receipt(write_blank("ko", rng), FONT, height_px=300, rng=rng)
    photo = photograph(paper, longest_side_px=300, rng=rng)
    assert photo.polygons == ()
    assert photo.image.std() > 1


@pytest.mark.parametrize("texture", TEXTURES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", [(64, 90), (301, 32)])
def test_textures_have_the_size_asked_for(texture, size):
    pixels = texture(size, np.random.default_rng(1))
    assert pixels.shape == size[::-1]
    assert np.isfinite(pixels).all()
