from __future__ import annotations

import torch
from torch import Tensor, nn

from detector.model.memory import Needed, autocast, needed


def on_meta(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).to("meta")


def forward(network: nn.Module, images: Tensor) -> Tensor:
    return network(images)


def test_what_a_pass_needs_by_hand():
    # 1000 inputs of 4 numbers become 8 each, float32.
    network = on_meta(nn.Linear(4, 8), nn.Sigmoid())
    found = needed(network, [(10, 10, 10, 4)], forward, channels_last=False)
    assert found.largest == 32256  # 1000 * 8 * 4 bytes, in blocks of 512
    assert found.kept == 32256  # a sigmoid's backward pass looks at its result alone
    assert found.peak == 2 * 32256


def test_without_gradients_the_last_result_alone_stays():
    network = on_meta(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2))

    def work(network: nn.Module, images: Tensor) -> Tensor:
        with torch.no_grad():
            return network(images)

    found = needed(network, [(1, 8, 16, 4)], work)
    assert (found.kept, found.peak) == (1024, 2 * 4096)  # 128 x 2, and twice 128 x 8, float32


def test_autocast_is_that_of_a_gpu_where_there_is_none():
    seen: list[torch.dtype] = []

    def work(network: nn.Module, images: Tensor) -> Tensor:
        with autocast(torch.bfloat16):
            found = network(images)
            seen.extend((found.dtype, torch.softmax(found, 1).dtype))
        seen.append(network(images).dtype)
        return found

    needed(on_meta(nn.Conv2d(4, 8, 3, padding=1)), [(1, 4, 16, 16)], work)
    assert seen == [torch.bfloat16, torch.float32, torch.float32]
    assert not torch.is_autocast_enabled("cuda")


def test_views_and_changes_in_place_take_nothing():
    def work(network: nn.Module, images: Tensor) -> Tensor:
        return network(images)

    network = on_meta(nn.Flatten(), nn.ReLU(inplace=True))
    assert needed(network, [(2, 3, 8, 8)], work, channels_last=False) == Needed(0, 0, 0)
