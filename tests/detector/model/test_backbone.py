from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import DropPath

from detector.core.errors import InputError
from detector.model.backbone import ALTERNATIVES, Backbone, _positions

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "channels", "statistics"),
    [
        ("resnet18", (64, 128, 256, 512), IMAGENET),
        ("efficientnet_b0", (24, 40, 112, 320), IMAGENET),
        ("tf_efficientnetv2_s", (48, 64, 160, 256), HALF),
        ("convnext_tiny", (96, 192, 384, 768), IMAGENET),
        ("tf_efficientnet_lite0", (24, 40, 112, 320), HALF),
        ("mobilenetv3_small_100", (16, 24, 48, 576), IMAGENET),
        ("hgnetv2_b0", (64, 256, 512, 1024), IMAGENET),
        ("regnetx_002", (24, 56, 152, 368), IMAGENET),
        ("resnet18.tv_in1k", (64, 128, 256, 512), IMAGENET),
        ("tf_efficientnet_lite1", (24, 40, 112, 320), HALF),
        ("tf_efficientnet_lite2", (24, 48, 120, 352), HALF),
        ("fsnet_s", (48, 48, 48, 48), IMAGENET),
        ("fsnet_m", (60, 60, 60, 60), IMAGENET),
    ],
)
def test_four_levels_with_the_statistics_of_the_published_weights(
    name: str, channels: tuple[int, ...], statistics: tuple
) -> None:
    backbone = Backbone(name)
    assert backbone.channels == channels
    assert backbone.strides == (4, 8, 16, 32)
    assert (backbone.mean, backbone.std) == statistics
    assert backbone.training


@pytest.mark.parametrize("size", ["w18", "w30", "w32", "w40", "w44", "w48"])
def test_every_hrnet_that_contests_were_won_with_has_the_same_four_levels(size: str) -> None:
    """timm widens its branches to the inputs of the classifier; the DB entries used these too."""
    with torch.device("meta"):
        backbone = Backbone(f"hrnet_{size}")
    assert backbone.channels == (128, 256, 512, 1024)
    assert (backbone.mean, backbone.std) == IMAGENET


def test_levels_are_chosen_by_stride_and_the_last_of_equals_wins() -> None:
    assert _positions("vgg11", [1, 2, 4, 8, 16, 32]) == [2, 3, 4, 5]
    assert _positions("x", [4, 4, 8, 16, 32, 64]) == [1, 2, 3, 4]


def test_a_transformer_of_one_training_size_takes_any_size_in_nchw() -> None:
    backbone = Backbone("swin_tiny_patch4_window7_224").eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 96, 64))
    assert [tuple(m.shape) for m in maps] == [
        (1, c, 96 // s, 64 // s) for c, s in zip(backbone.channels, backbone.strides, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "got 'resnet19'; close names: .*resnet18"),
        ("zzzzzzzz", r"got 'zzzzzzzz'; see timm.list_models"),
        (
            "fsnet",
            r"a timm [\d.]+ model or one of fsnet_s, fsnet_m, got 'fsnet'; close names: .*fsnet_s",
        ),
        ("fsnet_s.in1k", "or one of fsnet_s, fsnet_m, got 'fsnet_s.in1k'; close names: .*fsnet_s"),
        ("hf-hub:timm/resnet18", "must be the name of a timm"),
        ("resnet18.nobody", "no weights named 'nobody'; valid names: resnet18, resnet18.a1_in1k"),
        (
            "vit_tiny_patch16_224",
            "which vit_tiny_patch16_224 does not give: its maps have strides 16, 16, 16. .*"
            "about its 6 million weights .* hgnetv2_b2, efficientnet_b0 or mobilenetv3_large_100",
        ),
        ("nest_tiny", "which nest_tiny does not give: its maps have strides 4, 8, 16. Choose"),
        ("coatnet_nano_rw_224", r"takes images of 224 x 224 alone \(.*resnet50"),
        ("inception_v3", r"any size, .* fails on a 64 x 96 image \(.*Kernel size"),
        ("legacy_xception", r"returns maps of \[\(128, 15, 23\).* resnet50, swin_tiny"),
    ],
)
def test_a_backbone_that_cannot_be_used_is_refused_with_a_remedy(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Backbone(name)


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_what_a_refusal_recommends_works_and_has_the_size_it_is_listed_with(name: str) -> None:
    with torch.device("meta"):
        weights = sum(p.numel() for p in Backbone(name).parameters())
    assert ALTERNATIVES[name] == round(weights / 1e6, 1)


def test_construction_does_not_depend_on_the_probe() -> None:
    """The probe must leave the running statistics and the generator alone."""
    torch.manual_seed(0)
    backbone = Backbone("resnet18")
    after = torch.rand(())
    torch.manual_seed(0)
    plain = timm.create_model("resnet18", features_only=True)
    assert torch.equal(after, torch.rand(()))
    ours, theirs = backbone.body.state_dict(), plain.state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", True),
        ("efficientnet_b0", True),
        ("convnextv2_atto", False),
        ("swin_tiny_patch4_window7_224", False),
        ("pvt_v2_b0", False),
        ("fsnet_s", True),
    ],
)
def test_families_with_batch_norm_are_told_apart(name: str, expected: bool) -> None:
    with torch.device("meta"):
        assert Backbone(name).batch_normalised is expected


def test_blocks_are_skipped_at_a_rate_that_rises_to_the_one_given() -> None:
    def rates(drop_path: float) -> list[float]:
        with torch.device("meta"):
            body = Backbone("convnext_atto", drop_path=drop_path).body
        return [float(m.drop_prob or 0) for m in body.modules() if isinstance(m, DropPath)]

    # ConvNeXt-A has 2 + 2 + 6 + 2 blocks; the first has a rate of 0.
    assert rates(0.22) == pytest.approx([0.02 * i for i in range(1, 12)])
    assert not any(rates(0.0))


def test_a_backbone_in_training_skips_blocks_and_a_trained_one_none() -> None:
    torch.manual_seed(0)
    backbone = Backbone("convnext_atto", drop_path=0.9)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        first, second = backbone(images)[-1], backbone(images)[-1]
        assert not torch.equal(first, second)
        backbone.eval()
        assert torch.equal(backbone(images)[-1], backbone(images)[-1])


@pytest.mark.parametrize("name", ["vgg11_bn", "ghostnet_100", "densenet121"])
def test_a_backbone_without_blocks_to_skip_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"model\.drop_path: timm skips no blocks of {name}, got"):
        Backbone(name, drop_path=0.1)


def test_what_timm_cannot_compute_again_is_refused_with_what_it_can():
    with pytest.raises(
        InputError,
        match=r"^train\.grad_checkpointing: timm has none for twins_pcpvt_small, got true; set it "
        r"to false, or choose another model\.backbone, such as resnet50, hrnet_w18",
    ):
        Backbone("twins_pcpvt_small").checkpoint_stages()
