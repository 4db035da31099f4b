"""`python -m orchestrator.cluster file=cluster.yaml`: would `ray up` with this file work?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from detector.config import cli
from detector.config.answer import print_answer
from detector.config.cli import log
from detector.config.sections import Section
from detector.core.errors import InputError
from orchestrator.launch import aws, cluster_file


class ClusterSettings(Section):
    file: Path = Field(description="cluster file for ray up")


def main(settings: ClusterSettings) -> int:
    """Print what would be launched as JSON; InputError with every fault. Nothing is launched."""
    config = cluster_file.read(settings.file)
    faults = list(cluster_file.faults(settings.file, config))
    if config["provider"]["type"] == "aws":
        faults += aws.faults(config)
        faults += [] if faults else aws.refusals(config)
    if faults:
        raise InputError("\n".join(faults))
    print_answer(_told(config))
    log(f"ready: ray up {settings.file}")
    return 0


def _told(config: Mapping[str, Any]) -> dict[str, Any]:
    head = config["head_node_type"]
    kinds = {
        name: {
            "head": name == head,
            "instance_type": kind["node_config"].get("InstanceType"),
            "spot": kind["node_config"].get("InstanceMarketOptions", {}).get("MarketType")
            == "spot",
            "at_least": kind.get("min_workers", 0),
            "at_most": kind.get("max_workers", 0),
            "resources": kind.get("resources") or {},
        }
        for name, kind in config["available_node_types"].items()
    }
    provider = {k: config["provider"].get(k) for k in ("type", "region", "availability_zone")}
    return {"cluster": config["cluster_name"], "provider": provider, "machines": kinds}


if __name__ == "__main__":
    cli.run(
        main,
        ClusterSettings,
        program="python -m orchestrator.cluster",
        description="Check a cluster file before `ray up` launches what has to be paid for: "
        "placeholders, the token and the folder that are sent, the version of Ray, and on AWS "
        "region, keys, kinds of machines and file systems. Prints one JSON object.",
    )
