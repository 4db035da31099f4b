"""Every family of timm models that the documents name: built, trained a step, filled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from detector.config.settings import TrainConfig
from detector.data.page.preprocess import Preprocess
from detector.inference.detector import Detector
from detector.inference.onnx_export import convert
from detector.inference.onnx_model import OnnxNetwork
from detector.model.backbone import Backbone
from detector.model.dbnet import DBNet, build_model
from detector.model.weights import _full_model_shapes, match_weights
from detector.training.optimizer import parameter_groups

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
    "fsnet_s",
)
PARALLEL = ("hrnet_w18_small", "fsnet_s")  # whose four branches run side by side to the end
SHUFFLED = ("fsnet_s",)  # whose every map needs every weight
POOLED = ("vgg11_bn",)  # its last map is pooled from the one before, without weights
LARGE = (
    "efficientnet_b5",
    "convnext_base",
    "swin_base_patch4_window7_224",
    "resnet50",
    "hrnet_w48",
)
QUICK = (
    "resnet18",
    "tf_efficientnet_lite0",
    "convnextv2_atto",
    "mobilenetv4_conv_small",
    "vgg11_bn",
    "fsnet_s",
)


def each(*names: str) -> pytest.MarkDecorator:
    """A test for every name; those that are not QUICK are left to the full run."""
    values = [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in names]
    return pytest.mark.parametrize("name", values)


def in_running_order(backbone: Backbone) -> list[torch.nn.Parameter]:
    """The parameters in the order in which the modules that own them are entered."""
    seen: dict[torch.nn.Parameter, None] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda module, _: seen.update(dict.fromkeys(module.parameters(recurse=False)))
        )
        for module in backbone.modules()
    ]
    with torch.no_grad():
        backbone(torch.zeros(1, 3, SIDE, SIDE))
    for hook in hooks:
        hook.remove()
    return list(seen)


def build(backbone: str, width: int = 16) -> DBNet:
    torch.manual_seed(0)
    return build_model(
        backbone=backbone, neck="fpn", neck_channels=width, fusion="scale_channel_spatial"
    )


@each(*FAMILIES, *LARGE[:2])
def test_each_family_trains_a_step_at_the_size_of_its_input(name: str, loss_of: Callable) -> None:
    model = build(name)
    images = torch.randn(2, 3, SIDE, SIDE)
    torch.manual_seed(1)  # the same random depth and dropout twice, where a family has them
    before = loss_of(model, images)
    before.backward()
    grads = {k: p.grad for k, p in model.named_parameters()}
    assert [k for k, g in grads.items() if g is None or not g.isfinite().all()] == []
    parts = {k.partition(".")[0] for k, g in grads.items() if g is not None and g.any()}
    normed = set() if model.backbone.batch_normalised else {"norms"}
    assert parts == {"backbone", "neck", "fusion", "probability", "threshold"} | normed
    norm = torch.stack([g.norm() for g in grads.values() if g is not None]).norm()
    with torch.no_grad():
        for p in model.parameters():
            assert p.grad is not None
            p.sub_(p.grad, alpha=0.001 / norm.item())
        torch.manual_seed(1)
        assert loss_of(model, images) < before


@each(*FAMILIES, *LARGE[:2])
def test_each_family_is_the_same_network_as_an_onnx_file_of_any_size(name: str) -> None:
    """On small images: untrained networks blow rounding errors up, the more the larger."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = build(name).eval()
    preprocess = Preprocess(longest_side_px=64, mean=model.mean, std=model.std)
    config = TrainConfig()
    detector = Detector(model, preprocess, config.postprocess, torch.device("cpu"))
    exported = OnnxNetwork(convert(detector, config))
    for height, width in ((64, 96), (96, 64)):
        images = torch.randn(2, 3, height, width)
        with torch.inference_mode():
            expected = model(images).probability.sigmoid()
        torch.testing.assert_close(exported.probability(images), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("backbone", LARGE)
def test_a_large_model_maps_a_whole_page_to_its_size(backbone: str) -> None:
    with torch.device("meta"):  # shapes only: nothing is allocated
        model = build(backbone, width=256).eval()
        with torch.no_grad():
            assert model(torch.empty(1, 3, 640, 480)).probability.shape == (1, 1, 640, 480)


@each(*FAMILIES, *LARGE[:2])
def test_the_published_weights_of_each_family_fit_by_name_and_shape(name: str) -> None:
    with torch.device("meta"):
        backbone = Backbone(name)
        whole = {k: torch.empty(shape) for k, shape in _full_model_shapes(name).items()}
    matched = match_weights(whole, backbone, name)
    assert set(matched) == set(backbone.body.state_dict())


@each(*FAMILIES)
def test_the_rates_of_each_family_rise_from_its_stem_to_its_last_stage(name: str) -> None:
    with torch.device("meta"):
        backbone = Backbone(name)
        groups = parameter_groups(
            backbone, backbone=backbone, lr=1, backbone_lr_ratio=1, weight_decay=0, layer_decay=0.5
        )
        running = in_running_order(backbone.eval())
    rates = {id(p): g["peak_lr"] for g in groups for p in g["params"]}
    assert {id(p) for p in backbone.parameters()} == rates.keys()
    assert sum(len(g["params"]) for g in groups) == len(rates)
    steps = 1 if name in SHUFFLED else 3 if name in POOLED else 4
    ladder = [0.125, 0.25, 0.5, 1][-steps:]
    assert sorted(set(rates.values())) == ladder
    along = [rates[id(p)] for p in running]
    assert (along[0], along[-1]) == (ladder[0], 1)
    if name not in PARALLEL:
        assert along == sorted(along)
