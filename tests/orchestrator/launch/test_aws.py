"""What AWS would refuse, asked of moto's AWS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from orchestrator.launch import aws, cluster_file

ROOT = Path(__file__).parents[3]
REGION, ZONES = "us-west-2", "us-west-2a,us-west-2b,us-west-2c"


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with mock_aws():
        yield


@pytest.fixture
def config() -> dict[str, Any]:
    return cluster_file.read(ROOT / "cluster.yaml")


def with_file_system(config: dict[str, Any]) -> str:
    """The id of a file system that is made and put into the file."""
    made: str = boto3.client("efs", REGION).create_file_system()["FileSystemId"]
    for name in ("head_setup_commands", "worker_setup_commands"):
        config[name] = [c.replace("fs-00000000000000000", made) for c in config[name]]
    return made


@pytest.mark.usefixtures("moto")
def test_the_shipped_file_is_launchable_once_it_has_a_file_system(config: dict[str, Any]) -> None:
    with_file_system(config)
    assert list(aws.faults(config)) == []
    assert list(aws.refusals(config)) == []


@pytest.mark.usefixtures("moto")
@pytest.mark.parametrize(
    ("region", "zone", "told"),
    [
        ("us-wst-2", ZONES, ["us-wst-2 is no region of AWS that boto3 knows; such as us-west-2"]),
        ("us-east-1", "us-east-1a,us-west-2b", ["us-west-2b does not lie in the region us-east-1"]),
        ("eu-central-1", "eu-central-1a, eu-central-1b", []),
        ("cn-north-1", None, []),  # another partition
    ],
)
def test_regions_and_zones(
    config: dict[str, Any], region: str, zone: str | None, told: list[str]
) -> None:
    config["provider"] |= {"region": region, "availability_zone": zone}
    found = list(aws.faults(config))
    assert len(found) == len(told)
    assert all(text in fault for text, fault in zip(told, found, strict=True))


def test_no_keys_are_told(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (fault,) = aws.faults(config)
    assert fault.startswith("aws: there are no keys; run `aws configure`")


@pytest.mark.usefixtures("moto")
def test_a_kind_of_machine_that_the_region_or_its_zones_lack_is_told(
    config: dict[str, Any],
) -> None:
    with_file_system(config)
    kinds = config["available_node_types"]
    kinds["gpu_worker"]["node_config"]["InstanceType"] = "g99.huge"
    (fault,) = aws.refusals(config)
    assert fault == (
        "available_node_types.gpu_worker: there is no g99.huge in us-west-2; give another "
        "InstanceType or region"
    )


@pytest.mark.usefixtures("moto")
def test_a_file_system_that_is_not_there_is_told_with_those_that_are(
    config: dict[str, Any],
) -> None:
    (fault,) = aws.refusals(config)
    assert fault.endswith("no file system fs-00000000000000000 in us-west-2; yours there: none")
    made = boto3.client("efs", REGION).create_file_system()["FileSystemId"]
    (fault,) = aws.refusals(config)
    assert fault.endswith(f"yours there: {made}")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("AuthFailure", ["aws: DescribeX: it says; run `aws configure` again"]),
        ("RequestLimitExceeded", ["aws: DescribeX: it says"]),
        ("UnauthorizedOperation", []),
    ],
)
def test_an_error_of_aws_is_a_fault_but_where_the_keys_may_not_ask(
    code: str, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def question() -> Iterator[str]:
        raise ClientError({"Error": {"Code": code, "Message": "it says"}}, "DescribeX")
        yield ""

    assert aws._asked(question) == told
    said = capsys.readouterr().err
    assert ("aws: not checked, since these keys may not ask: DescribeX" in said) == (told == [])


def test_an_aws_that_gives_no_answer_is_a_fault() -> None:
    def question() -> Iterator[str]:
        raise EndpointConnectionError(endpoint_url="https://ec2.example")
        yield ""

    (fault,) = aws._asked(question)
    assert fault.startswith("aws: gives no answer: ")
    assert "https://ec2.example" in fault


def test_zones_without_a_kind_of_machine_are_told(config: dict[str, Any]) -> None:
    class Ec2:
        def describe_instance_type_offerings(self, **_: Any) -> dict[str, Any]:
            return {"InstanceTypeOfferings": [{"Location": "us-west-2d"}]}

    head, worker = aws._types(config, Ec2())
    assert "m6i.large is offered in us-west-2d, not in us-west-2a, us-west-2b, us-west-2c" in head
    assert worker.startswith("available_node_types.gpu_worker: g5.xlarge")
