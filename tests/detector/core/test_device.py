from __future__ import annotations

from contextlib import suppress

import pytest
import torch

from detector.core.device import (
    autocast_dtype,
    choose_device,
    loader_processes,
    searched_convolutions,
    set_threads,
    suits_channels_last,
)
from detector.core.errors import InputError
from detector.model.backbone import Backbone

CPU = torch.device("cpu")


def test_cpu_is_taken_when_asked_for():
    assert choose_device("cpu") == CPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_missing_gpu_is_said():
    assert choose_device("auto") == CPU
    with pytest.raises(InputError, match=r"train\.device: cuda was asked for"):
        choose_device("cuda")


def test_precision_on_a_cpu():
    assert autocast_dtype("auto", CPU) is None
    assert autocast_dtype("off", CPU) is None
    assert autocast_dtype("bf16", CPU) is torch.bfloat16
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        autocast_dtype("fp16", CPU)


def test_threads_are_bounded():
    before = torch.get_num_threads()
    try:
        set_threads(1)
        assert torch.get_num_threads() == 1
        set_threads(None)
        assert torch.get_num_threads() == 1
    finally:
        set_threads(before)


@pytest.mark.parametrize(
    ("backbone", "last"),
    [
        ("resnet18", False),
        ("vgg11_bn", False),
        ("tf_efficientnet_lite0", True),
        ("convnext_tiny", True),
    ],
)
def test_light_networks_want_their_channels_last_on_a_cpu(backbone: str, last: bool):
    with torch.device("meta"):
        network = Backbone(backbone)
    assert suits_channels_last(network, CPU) is last
    assert suits_channels_last(network, torch.device("cuda"))


def test_loader_processes_take_the_cores_that_start_no_work_of_a_gpu() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    threads = torch.get_num_threads()
    try:
        found = []
        for cores in (1, 4, 40):
            torch.set_num_threads(cores)
            found.append((loader_processes("auto", cpu), loader_processes("auto", gpu)))
    finally:
        torch.set_num_threads(threads)
    assert found == [(0, 0), (0, 3), (0, 16)]
    assert loader_processes(5, cpu) == loader_processes(5, gpu) == 5


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("wanted", [False, True])
def test_algorithms_are_searched_for_in_the_block_only(before: bool, wanted: bool):
    cudnn, found = torch.backends.cudnn, torch.backends.cudnn.benchmark
    try:
        cudnn.benchmark = before
        with suppress(ValueError), searched_convolutions(wanted):
            assert cudnn.benchmark == (before or wanted)
            raise ValueError
        assert cudnn.benchmark == before
    finally:
        cudnn.benchmark = found
