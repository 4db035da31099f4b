from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from detector.config.settings import TrainConfig, with_values
from detector.model.backbone import Backbone
from detector.model.cost import measure
from detector.model.dbnet import build_model
from detector.model.mixnet import FSNETS, FSNet, shuffle
from detector.model.weights import load_backbone_weights
from detector.training.step_cost import predicted_bytes
from tests.support.examples import examples


def test_a_shuffle_deals_the_parts_out_by_hand() -> None:
    """Two resolutions of two channels: a 2 x 4 map and a 1 x 2 one."""
    fine = torch.tensor([[[1.0, 3, 5, 7], [1, 3, 5, 7]], [[0, 4, 2, 2], [8, 4, 2, 6]]])[None]
    coarse = torch.tensor([[[10.0, 20]], [[30, 40]]])[None]
    first, second = shuffle([fine, coarse])
    # The first parts at the fine size, the second parts at the coarse one.
    assert first[0].tolist() == [[[1, 3, 5, 7], [1, 3, 5, 7]], [[10, 10, 20, 20], [10, 10, 20, 20]]]
    assert second[0].tolist() == [[[4, 3]], [[30, 40]]]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**31))
@examples(30)
def test_a_shuffle_keeps_shapes_and_means_and_mixes_every_map_into_every_other(
    count: int, share: int, seed: int
) -> None:
    """Averages and repetitions keep the mean of each channel, in whatever map it lands."""
    draw = torch.Generator().manual_seed(seed)
    width = share * count
    maps = [torch.randn(2, width, 16 >> i, 24 >> i, generator=draw) for i in range(count)]
    dealt = shuffle(maps)
    assert [m.shape for m in dealt] == [m.shape for m in maps]
    for i, m in enumerate(dealt):
        for j, whole in enumerate(maps):
            landed = m[:, j * share : (j + 1) * share].mean((2, 3))
            torch.testing.assert_close(
                landed, whole[:, i * share : (i + 1) * share].mean((2, 3)), atol=1e-5, rtol=0
            )


@pytest.mark.parametrize("name", FSNETS)
def test_four_maps_of_one_width_for_pages_of_any_size(name: str) -> None:
    backbone = Backbone(name).eval()
    width, _ = FSNETS[name]
    with torch.no_grad():
        maps = backbone(torch.randn(2, 3, 96, 160))
    assert [tuple(m.shape) for m in maps] == [(2, width, 96 // s, 160 // s) for s in (4, 8, 16, 32)]


def test_every_map_depends_on_every_resolution() -> None:
    """So one gradient, from the coarsest map, reaches every weight of the finest branch."""
    torch.manual_seed(0)
    network = FSNet(12, (1, 1, 1, 1))
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(part.weight)  # blocks begin as nothing
    network(torch.randn(2, 3, 64, 64))[-1].square().sum().backward()
    assert [k for k, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_new_block_passes_on_what_comes_in() -> None:
    torch.manual_seed(0)
    network = FSNet(12, (3, 1, 1, 1)).eval()
    stem = network.stem(torch.randn(1, 3, 32, 32))
    assert torch.equal(network.stages[0]([stem])[0], stem)


@pytest.mark.parametrize("width", [0, 8, 30])
def test_a_width_that_cannot_be_dealt_out_evenly_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"positive multiple of 12, got {width}"):
        FSNet(width, (1, 1, 1, 1))


def test_blocks_are_skipped_at_rates_that_rise_from_none_to_the_one_given() -> None:
    blocks = [
        m for m in FSNet(12, (2, 1, 1, 1), drop_path=0.4).modules() if hasattr(m, "drop_path")
    ]
    rates = sorted({round(getattr(block.drop_path, "drop_prob", 0.0), 6) for block in blocks})
    assert rates == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_the_larger_one_takes_about_the_work_of_hrnet_w18() -> None:
    small = partial(build_model, neck="fpn", neck_channels=16, fusion="none")
    work = {
        n: measure(partial(small, backbone=n), 640).backbone_macs for n in (*FSNETS, "hrnet_w18")
    }
    assert work["fsnet_s"] < 0.5 * work["hrnet_w18"]
    assert 0.8 < work["fsnet_m"] / work["hrnet_w18"] < 1.1


def test_its_memory_on_a_gpu_is_predicted_from_the_maps_that_it_keeps() -> None:
    """A step of twice the crops keeps twice the maps; weights stay."""

    def step(crops: int) -> int:
        settings = {"model.backbone": "fsnet_s", "model.neck_channels": 32, "augment.crop_px": 320}
        config = with_values(TrainConfig(), settings | {"train.batch_size": crops})
        return predicted_bytes(config, training=True)

    one, two, three = step(1), step(2), step(3)
    assert two - one == pytest.approx(three - two, rel=0.05)
    assert two > 1.5 * one


def test_it_starts_from_scratch_and_says_why() -> None:
    backbone = Backbone("fsnet_s")
    before = {k: v.clone() for k, v in backbone.body.state_dict().items()}
    assert load_backbone_weights(backbone, "fsnet_s", "auto") == (
        "fsnet_s: starting from scratch: no published weights fit it"
    )
    assert all(torch.equal(v, before[k]) for k, v in backbone.body.state_dict().items())


def test_a_detector_of_ours_gives_its_backbone(tmp_path: Path) -> None:
    model = build_model(backbone="fsnet_s", neck="fpn", neck_channels=16, fusion="none")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    backbone = Backbone("fsnet_s")
    load_backbone_weights(backbone, "fsnet_s", str(tmp_path / "model.safetensors"))
    ours = model.backbone.body.state_dict()
    assert all(torch.equal(v, ours[k]) for k, v in backbone.body.state_dict().items())
