"""Large pages in overlapping tiles, and their maps put together again."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side: the first at 0, the last at the end, evenly between.

    Neighbours share at least `overlap`; a side no longer than a tile has one.
    """
    if length <= tile:
        return [0]
    count = 1 + -(-(length - tile) // (tile - overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def tiled(
    network: Callable[[Tensor], Tensor], images: Tensor, *, tile: int, overlap: int, stride: int
) -> Tensor:
    """`network` applied tile by tile, `(N, 3, H, W)` to `(N, 1, H, W)`.

    Where tiles overlap their values are averaged, each weighed by the distance to the nearest
    inner edge of its tile, up to `overlap`: what a tile sees cut off counts little. Tiles
    begin at multiples of `stride`, of which `tile`, `overlap`, H and W are multiples.
    """
    height, width = images.shape[-2:]
    rows, columns = (
        [stride * n for n in starts(side // stride, tile // stride, overlap // stride)]
        for side in (height, width)
    )
    if len(rows) == len(columns) == 1:
        return network(images)
    total = images.new_zeros((len(images), 1, height, width), dtype=torch.float32)
    weights = torch.zeros_like(total[:1])
    for y, x in product(rows, columns):
        part = images[..., y : y + tile, x : x + tile]
        found = network(part).float()
        down = _ramp(part.shape[-2], y > 0, y + tile < height, overlap)
        across = _ramp(part.shape[-1], x > 0, x + tile < width, overlap)
        weight = (down[:, None] * across).to(found.device)
        total[..., y : y + tile, x : x + tile] += weight * found
        weights[..., y : y + tile, x : x + tile] += weight
    return total / weights


def _ramp(length: int, before: bool, after: bool, overlap: int) -> Tensor:
    """`(length,)` weights: 1, falling linearly towards an end where another tile goes on."""
    steps = torch.arange(length) + 0.5
    weight = torch.full((length,), float(max(overlap, 1)))
    if before:
        weight = torch.minimum(weight, steps)
    if after:
        weight = torch.minimum(weight, steps.flip(0))
    return weight / max(overlap, 1)
