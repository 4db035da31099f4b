from __future__ import annotations

import pytest

from detector.config.answer import collected
from detector.config.cli import build
from detector.core.errors import InputError
from detector.models import ModelsSettings, main


def test_the_table_and_the_json_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"backbones": ["resnet18", "mobilenetv3_small_100"], "size": "64"}
    assert main(build(ModelsSettings, values)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["parameters", "(M)", "GMACs", "at", "64", "x", "64"]
    with collected() as result:
        assert main(build(ModelsSettings, values)) == 0
    assert result["size"] == 64
    for line, cost in zip(lines[2:4], result["detectors"], strict=True):
        keys = ("backbone_parameters", "rest_parameters", "parameters")
        columns = [f"{cost[k] / 1e6:.2f}" for k in keys]
        columns += [f"{cost[k] / 1e9:.2f}" for k in ("backbone_macs", "rest_macs", "macs")]
        assert line.split() == [cost["backbone"], *columns]


def test_one_backbone_without_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(build(ModelsSettings, {"model.backbone": "lcnet_050", "size": "64"})) == 0
    assert "\nlcnet_050 " in capsys.readouterr().out


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match="size: input should be a multiple of 32, got '100'"):
        build(ModelsSettings, {"size": "100"})
    with pytest.raises(InputError, match=r"close names: .*resnet18"):
        main(build(ModelsSettings, {"backbones": ["resnet18", "resnet19"]}))
