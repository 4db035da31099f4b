"""Every family of timm models that the documents name: built, trained a step, filled."""

from __future__ import annotations

import pytest
import torch

from detector.loss import DBLoss
from detector.model.backbone import Backbone
from detector.model.dbnet import DBNet, build_model
from detector.model.weights import _full_model_shapes, match_weights

SIDE = 64

FAMILIES = (
    "resnet18",
    "efficientnet_b0",
    "tf_efficientnetv2_s",
    "tf_efficientnet_lite0",
    "convnext_tiny",
    "convnextv2_atto",
    "mobilenetv3_large_100",
    "mobilenetv4_conv_small",
    "hgnetv2_b0",
    "regnetx_002",
    "swin_tiny_patch4_window7_224",
    "swinv2_cr_tiny_224",
    "ghostnet_100",
    "repvit_m0_9",
    "densenet121",
    "vgg11_bn",
    "res2net50_26w_4s",
    "fastvit_t8",
    "edgenext_xx_small",
    "efficientvit_b0",
    "pvt_v2_b0",
    "davit_tiny",
    "dla34",
    "hrnet_w18_small",
    "tiny_vit_5m_224",
    "inception_next_atto",
)
LARGE = ("efficientnet_b5", "convnext_base", "swin_base_patch4_window7_224", "resnet50")


def build(backbone: str, width: int = 16) -> DBNet:
    torch.manual_seed(0)
    return build_model(
        backbone=backbone, neck="fpn", neck_channels=width, fusion="scale_channel_spatial"
    )


def loss_of(model: DBNet, images: torch.Tensor) -> torch.Tensor:
    loss = DBLoss(
        negative_ratio=3.0,
        min_negatives=100,
        probability_weight=5.0,
        threshold_weight=10.0,
        binary_weight=1.0,
        step_k=50.0,
    )
    shrink = torch.zeros(2, 1, SIDE, SIDE)
    shrink[:, :, 8:24, 8:56] = 1
    whole = torch.ones_like(shrink)
    torch.manual_seed(1)  # the same random depth and dropout, where a family has them
    maps = model(images)
    assert maps.threshold is not None
    assert maps.probability.shape == maps.threshold.shape == shrink.shape
    return loss(maps, shrink, whole, 0.3 + 0.4 * shrink, whole).total


@pytest.mark.parametrize("backbone", FAMILIES)
def test_each_family_trains_a_step_at_the_size_of_its_input(backbone: str) -> None:
    model = build(backbone)
    images = torch.randn(2, 3, SIDE, SIDE)
    before = loss_of(model, images)
    before.backward()
    grads = {k: p.grad for k, p in model.named_parameters()}
    assert [k for k, g in grads.items() if g is None or not g.isfinite().all()] == []
    parts = {k.partition(".")[0] for k, g in grads.items() if g is not None and g.any()}
    assert parts == {"backbone", "neck", "fusion", "probability", "threshold"}
    norm = torch.stack([g.norm() for g in grads.values() if g is not None]).norm()
    with torch.no_grad():
        for p in model.parameters():
            assert p.grad is not None
            p.sub_(p.grad, alpha=0.001 / norm.item())
        assert loss_of(model, images) < before


@pytest.mark.parametrize("backbone", LARGE)
def test_a_large_model_maps_a_whole_page_to_its_size(backbone: str) -> None:
    with torch.device("meta"):  # shapes only: nothing is allocated
        model = build(backbone, width=256).eval()
        with torch.no_grad():
            assert model(torch.empty(1, 3, 640, 480)).probability.shape == (1, 1, 640, 480)


@pytest.mark.parametrize("name", [*FAMILIES, *LARGE[:2]])
def test_the_published_weights_of_each_family_fit_by_name_and_shape(name: str) -> None:
    with torch.device("meta"):
        backbone = Backbone(name)
        whole = {k: torch.empty(shape) for k, shape in _full_model_shapes(name).items()}
    matched = match_weights(whole, backbone, name)
    assert set(matched) == set(backbone.body.state_dict())
