"""The shipped cluster files: Ray accepts them, and they do what their comments promise.

`cluster.local.yaml` is also run for real, in `tests/cluster/`.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from orchestrator.run.command_line import parse_arguments

ROOT = Path(__file__).parents[1]
PATHS = {"aws": ROOT / "cluster.yaml", "local": ROOT / "cluster.local.yaml"}
TOKEN = "~/.ray/auth_token"


@pytest.fixture(params=sorted(PATHS))
def path(request) -> Path:
    return PATHS[request.param]


@pytest.fixture
def config(path) -> dict[str, Any]:
    return read(path)


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def starts(config: dict[str, Any]) -> list[str]:
    """The commands that start Ray: the head's and the workers'."""
    names = ("head_start_ray_commands", "worker_start_ray_commands")
    return [command for name in names for command in config[name] if "ray start" in command]


def test_ray_accepts_it_with_its_defaults_filled_in(config):
    validate_config(prepare_config(config))


def test_the_check_would_notice_a_misspelt_key(config):
    with pytest.raises(ValidationError, match="setup_comands"):
        validate_config(prepare_config(config | {"setup_comands": []}))


def test_the_aws_workers_have_gpus_and_are_spot_machines_beside_a_small_head():
    config = read(PATHS["aws"])
    worker = config["available_node_types"]["gpu_worker"]
    assert worker["resources"]["GPU"] == 1
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert worker["max_workers"] == config["max_workers"]
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]


def test_the_local_machines_all_become_workers():
    made = prepare_config(read(PATHS["local"]))
    (kind,) = made["available_node_types"].values()
    machines = len(made["provider"]["worker_ips"])
    assert (kind["min_workers"], kind["max_workers"]) == (machines, machines)


def test_every_machine_installs_this_package(config):
    (remote,) = (k for k, v in config["file_mounts"].items() if v == ".")
    installs = [c for c in config["setup_commands"] if "install" in c and f"-e {remote}" in c]
    assert len(installs) == 1
    assert (ROOT / "pyproject.toml").is_file()


def test_the_same_ray_is_told_for_both_ends(path):
    versions = re.findall(r"ray\[\S+\]==([\d.]+)", path.read_text(encoding="utf-8"))
    assert len(versions) == 2
    assert len(set(versions)) == 1


def test_the_token_is_handed_out_made_private_and_asked_for(config, path):
    assert config["file_mounts"][TOKEN] == TOKEN
    assert config["setup_commands"][0] == f"chmod 600 {TOKEN}"
    assert len(starts(config)) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts(config))
    assert "ray get-auth-token --generate" in path.read_text(encoding="utf-8")


def test_the_dashboard_listens_on_the_machine_alone_and_tunnels_are_shown(config, path):
    assert "--dashboard-host=127.0.0.1" in starts(config)[0]
    text = path.read_text(encoding="utf-8")
    assert f"ray dashboard {path.name}" in text
    assert re.search(rf"ray exec {re.escape(path.name)} -p 6006 [^>]*?tensorboard --logdir", text)
    assert "--bind_all" not in text


@pytest.mark.parametrize(
    ("name", "python"), [("aws", "python3"), ("local", "~/receipts-venv/bin/python")]
)
def test_the_search_command_in_the_comments_is_understood(name, python):
    text = PATHS[name].read_text(encoding="utf-8")
    begin = f"{python} -m orchestrator.search"
    start = text.index(begin) + len(begin)
    words = text[start : text.index('"', start)].replace("#", " ").replace("\\\n", " ")
    config, overrides = parse_arguments(shlex.split(words))
    assert config.space == "dbnetpp"
    assert overrides == {"data.root": "/mnt/shared/receipts"}
