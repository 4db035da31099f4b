from __future__ import annotations

from pathlib import Path

import pytest

from detector.core.errors import InputError
from orchestrator.space.values import backbone_fault, faults_of, read_one, read_settings


def test_faults_name_their_key_or_section() -> None:
    assert faults_of({"train.batch_size": "2"}) == []
    assert [key for key, _ in faults_of({"train.batch_size": 0, "loss.negative_ratio": "x"})] == [
        "loss.negative_ratio",
        "train.batch_size",
    ]
    assert [key for key, _ in faults_of({"augment.scale_min": 2.0})] == ["augment"]


def test_settings_are_read_as_the_detector_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    read = read_settings(
        {
            "train.batch_size": "2",
            "loss.negative_ratio": 3,
            "data.root": Path("a"),
            "model.weights": "b",
            "train.init": "c",
        }
    )
    assert read == {
        "train.batch_size": 2,
        "loss.negative_ratio": 3.0,
        "data.root": str(tmp_path / "a"),
        "model.weights": str(tmp_path / "b"),
        "train.init": str(tmp_path / "c"),
    }
    assert type(read["loss.negative_ratio"]) is float


def test_a_start_by_its_name_is_no_path_and_a_bucket_is_none() -> None:
    for name in ("none", "ppocrv6_small"):
        assert read_settings({"train.init": name}) == {"train.init": name}
    with pytest.raises(InputError, match=r"train\.init: s3://a/b is not a path; copy it to the"):
        read_settings({"train.init": "s3://a/b"})


def test_one_value_is_read_beside_the_fixed_ones() -> None:
    assert read_one({"augment.scale_max": 3.0}, "augment.scale_min", "2") == 2.0
    assert read_one({}, "augment.scale_min", 2.5) == 2.5  # only in conflict with another setting


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("resnet18", None),
        (None, None),
        ("resnet19", "close names: resnet1"),
        ("vit_tiny_patch16_224", "needs feature maps at strides 4, 8, 16, 32"),
    ],
)
def test_backbones(name: str | None, part: str | None) -> None:
    fault = backbone_fault(name)
    assert fault == part if part is None else part in (fault or "")
