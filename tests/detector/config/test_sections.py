from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from detector.config.cli import build
from detector.config.sections import Section, describe_faults
from detector.config.settings import TrainConfig
from detector.core.errors import InputError


class Paths(Section):
    one: Path = Path("~/default")
    maybe: Path | None = None
    several: list[Path] = Field([])
    text: str = "~/kept"


def test_a_home_folder_is_meant_by_a_tilde_in_every_path(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")
    values = {"maybe": "~/a", "several": ["~", "b/~", "s3://~/c"]}
    found = build(Paths, values)
    assert found.one == Path("/home/me/default")
    assert found.maybe == Path("/home/me/a")
    assert found.several == [Path("/home/me"), Path("b/~"), Path("s3://~/c")]
    assert found.text == "~/kept"
    data = build(TrainConfig, {"data.root": "~/receipts", "data.cache": None}).data
    assert (data.root, data.cache) == (Path("/home/me/receipts"), None)


def test_pages_are_kept_in_a_folder_of_the_machine_or_a_given_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    for given, folder in {
        "auto": Path("/caches/receipt-orchestrator/pages"),
        "pages": Path("pages"),
        "none": None,
        None: None,
    }.items():
        assert build(TrainConfig, {"data.cache": given}).data.cache_folder() == folder
    kept = TrainConfig().model_dump(mode="json")
    assert kept["data"]["cache"] == "auto"
    assert TrainConfig.model_validate(kept) == TrainConfig()


def test_a_home_folder_of_nobody_is_named():
    with pytest.raises(InputError, match=r"maybe: ~nobody\.knows/a: there is no user of this name"):
        build(Paths, {"maybe": "~nobody.knows/a"})


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("many", "a valid integer, unable to parse string as an integer"),
        (99, "less than or equal to 64"),
    ],
)
def test_a_setting_of_two_types_has_one_line_with_both_rules(value: object, rule: str) -> None:
    with pytest.raises(ValidationError) as error:
        TrainConfig.model_validate({"data": {"workers": value}, "loss": {"negative_ratio": "x"}})
    one, other = describe_faults(error.value, TrainConfig)
    assert one == f"data.workers: input should be 'auto' or {rule}, got {value!r}"
    assert other.startswith("loss.negative_ratio: input should be a valid number")
