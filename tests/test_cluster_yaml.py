"""The shipped cluster.yaml: Ray accepts it, and it does what its comments promise."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from orchestrator.config import parse_arguments

PATH = Path(__file__).parents[1] / "cluster.yaml"


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return yaml.safe_load(PATH.read_text(encoding="utf-8"))


def test_ray_accepts_it_with_its_defaults_filled_in(config):
    validate_config(prepare_config(config))


def test_the_check_would_notice_a_misspelt_key(config):
    with pytest.raises(ValidationError, match="setup_comands"):
        validate_config(prepare_config(config | {"setup_comands": []}))


def test_workers_have_gpus_and_are_spot_machines(config):
    worker = config["available_node_types"]["gpu_worker"]
    assert worker["resources"]["GPU"] == 1
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert worker["max_workers"] == config["max_workers"]
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


def test_every_machine_installs_this_package(config):
    (remote,) = (k for k, v in config["file_mounts"].items() if v == ".")
    assert f"pip3 install -q -e {remote}" in config["setup_commands"]
    assert (PATH.parent / "pyproject.toml").is_file()


def test_the_dashboard_listens_on_the_machine_alone(config):
    (start,) = (c for c in config["head_start_ray_commands"] if "ray start" in c)
    assert "--dashboard-host=127.0.0.1" in start


def test_the_search_command_in_the_comments_is_understood():
    text = PATH.read_text(encoding="utf-8")
    start = text.index("python3 -m orchestrator.search") + len("python3 -m orchestrator.search")
    words = text[start : text.index('"', start)].replace("#", " ").replace("\\\n", " ")
    config, overrides = parse_arguments(shlex.split(words))
    assert config.space == "dbnetpp"
    assert overrides == {"data.root": "/mnt/shared/receipts"}
