"""What AWS would refuse of a cluster file, asked before anything is launched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from detector.config.cli import log
from orchestrator.launch.cluster_file import commands

DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
REFUSED = ("AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken")
_FILE_SYSTEM = re.compile(r"\bfs-[0-9a-f]{8,17}\b")


def faults(config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with region, zones and keys, a line each, as far as this machine knows."""
    try:
        import boto3
    except ImportError:
        yield "provider.type: aws needs boto3, which is not installed; pip install boto3"
        return
    session = boto3.Session()
    yield from _region_faults(config["provider"], session)
    if session.get_credentials() is None:
        yield (
            "aws: there are no keys; run `aws configure`, or set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )


def refusals(config: Mapping[str, Any]) -> Iterator[str]:
    """What AWS itself says against kinds of machines and file systems, a line each.

    For a file without `faults`. What the keys may not ask is said and left out.
    """
    import boto3

    session, region = boto3.Session(), config["provider"]["region"]
    yield from _asked(lambda: _types(config, session.client("ec2", region)))
    yield from _asked(lambda: _file_systems(config, session.client("efs", region)))


def _region_faults(provider: Mapping[str, Any], session: Any) -> Iterator[str]:
    region = str(provider.get("region"))
    partitions = session.get_available_partitions()
    regions = [r for p in partitions for r in session.get_available_regions("ec2", p)]
    if region not in regions:
        near = get_close_matches(region, regions, n=3) or sorted(regions)
        yield (
            f"provider.region: {region} is no region of AWS that boto3 knows; such as "
            f"{', '.join(near)}, or update boto3"
        )
        return
    for zone in _zones(provider):
        if not zone.startswith(region):
            yield f"provider.availability_zone: {zone} does not lie in the region {region}"


def _zones(provider: Mapping[str, Any]) -> list[str]:
    given = provider.get("availability_zone") or ""
    return [zone.strip() for zone in given.split(",") if zone.strip()]


def _asked(question: Callable[[], Iterator[str]]) -> list[str]:
    """The faults that an answer of AWS shows; one fault where it gives no answer at all."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return list(question())
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if code in DENIED:
            log(f"aws: not checked, since these keys may not ask: {error.operation_name}")
            return []
        remedy = "; run `aws configure` again" if code in REFUSED else ""
        return [f"aws: {error.operation_name}: {message}{remedy}"]
    except BotoCoreError as error:
        return [f"aws: gives no answer: {error}"]


def _types(config: Mapping[str, Any], ec2: Any) -> Iterator[str]:
    """Kinds of machines that no zone in question offers."""
    zones = _zones(config["provider"])
    for name, kind in config["available_node_types"].items():
        wanted = kind["node_config"]["InstanceType"]
        answer = ec2.describe_instance_type_offerings(
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": [wanted]}],
        )
        offered = sorted(each["Location"] for each in answer["InstanceTypeOfferings"])
        if not offered:
            yield (
                f"available_node_types.{name}: there is no {wanted} in "
                f"{config['provider']['region']}; give another InstanceType or region"
            )
        elif zones and not set(zones) & set(offered):
            yield (
                f"available_node_types.{name}: {wanted} is offered in {', '.join(offered)}, not in "
                f"{', '.join(zones)}; add one of them to provider.availability_zone"
            )


def _file_systems(config: Mapping[str, Any], efs: Any) -> Iterator[str]:
    """Ids of EFS that the machines would mount and that are not there."""
    wanted = {name for text in commands(config) for name in _FILE_SYSTEM.findall(text)}
    if not wanted:
        return
    there = {each["FileSystemId"] for each in efs.describe_file_systems()["FileSystems"]}
    for name in sorted(wanted - there):
        yield (
            f"setup_commands: there is no file system {name} in {config['provider']['region']}; "
            f"yours there: {', '.join(sorted(there)) or 'none'}"
        )
