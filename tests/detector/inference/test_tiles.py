from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from detector.inference.tiles import starts, tiled


def blank(images: Tensor) -> Tensor:
    return images[:, :1] * 0


def test_where_tiles_begin_by_hand():
    assert starts(64, 64, 32) == [0]
    assert starts(10, 64, 32) == [0]
    assert starts(96, 64, 32) == [0, 32]
    assert starts(65, 64, 0) == [0, 1]
    assert starts(200, 64, 32) == [0, 27, 54, 82, 109, 136]  # 136 / 5 = 27.2 apart


@given(st.integers(1, 500), st.integers(2, 60), st.data())
def test_tiles_cover_a_side_and_share_the_overlap(length, tile, data):
    overlap = data.draw(st.integers(0, tile // 2))
    begins = starts(length, tile, overlap)
    assert begins[0] == 0
    assert begins[-1] == max(0, length - tile)
    for one, other in pairwise(begins):
        assert one < other <= one + tile - overlap


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (224, 64)])
def test_a_pixelwise_network_gives_the_same_in_tiles(size):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))

    def network(part: Tensor) -> Tensor:
        return part[:, :1].sigmoid()

    found = tiled(network, images, tile=64, overlap=32, stride=32)
    torch.testing.assert_close(found, network(images))


def test_the_network_sees_whole_tiles_of_one_size():
    seen = []

    def network(part: Tensor) -> Tensor:
        seen.append(tuple(part.shape))
        return blank(part)

    tiled(network, torch.zeros(1, 3, 160, 96), tile=64, overlap=32, stride=32)
    assert set(seen) == {(1, 3, 64, 64)}
    assert len(seen) == 4 * 2  # down 0, 32, 64, 96; across 0, 32


def test_overlaps_fade_from_one_tile_to_the_next():
    calls = iter([0.0, 1.0])

    def network(part: Tensor) -> Tensor:
        return blank(part) + next(calls)

    found = tiled(network, torch.zeros(1, 3, 32, 96), tile=64, overlap=32, stride=32)[0, 0, 0]
    assert (found[:32] == 0).all()
    assert (found[64:] == 1).all()
    # The second tile's weight rises by 1/32 a pixel while that of the first falls.
    expected = (torch.arange(32) + 0.5) / 32
    torch.testing.assert_close(found[32:64], expected)


def test_a_page_smaller_than_a_tile_is_not_touched():
    images = torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(tiled(lambda part: part, images, tile=64, overlap=0, stride=32), images)
