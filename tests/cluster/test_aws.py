"""`ray up cluster.yaml` by Ray's own code, against an AWS that is moto's: a head, a spot worker.

What the machines would run is written down instead: moto's have no SSH.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
import ray
import yaml
from moto.server import ThreadedMotoServer
from ray.autoscaler._private.aws import config as ray_aws
from ray.autoscaler._private.commands import _bootstrap_config, get_or_create_head_node
from ray.autoscaler._private.event_summarizer import EventSummarizer
from ray.autoscaler._private.node_launcher import BaseNodeLauncher
from ray.autoscaler._private.node_provider_availability_tracker import (
    NodeProviderAvailabilityTracker,
)
from ray.autoscaler._private.prom_metrics import AutoscalerPrometheusMetrics
from ray.autoscaler._private.providers import _get_node_provider
from ray.autoscaler._private.util import ConcurrentCounter

ROOT = Path(__file__).parents[2]
REGION = "us-west-2"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Recorder:
    """Takes the place of `subprocess`: what would go to a machine is kept, each as its words."""

    CalledProcessError = subprocess.CalledProcessError

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.bootstrap: dict[str, Any] = {}

    def check_call(self, command: list[str], **_: Any) -> None:
        self.calls.append(command)
        for word in command if command[0] == "rsync" else ():
            if "ray-bootstrap-" in word and Path(word).is_file():
                self.bootstrap = yaml.safe_load(Path(word).read_text(encoding="utf-8"))

    def check_output(self, command: list[str], **_: Any) -> bytes:
        self.check_call(command)
        return b""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a token, and the program's folder to send, without what is large."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("secret\n")
    (home / "program").mkdir()
    (home / "program" / "pyproject.toml").touch()
    return home


@pytest.fixture(scope="module")
def account(home: Path) -> Iterator[None]:
    """An account of AWS in which nothing is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        # What other tests of this process have left, an IAM without AWS's own policies among it.
        urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST"))
        own = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            **{"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"},
            **{"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(home)},
            **{
                "AWS_SHARED_CREDENTIALS_FILE": str(home / "no"),
                "AWS_CONFIG_FILE": str(home / "no"),
            },
        }
        for name, value in own.items():
            patch.setenv(name, value)
        patch.chdir(home / "program")
        patch.setattr(ray_aws.time, "sleep", lambda _: None)  # until a real AWS knows a new role
        try:
            yield
        finally:
            server.stop()


def ray_up(config: dict[str, Any], recorder: Recorder) -> None:
    """What `ray up --yes` does with a file, to machines that the recorder stands for."""
    get_or_create_head_node(
        _bootstrap_config(config, no_config_cache=True),
        "cluster.yaml",
        no_restart=False,
        restart_only=False,
        yes=True,
        override_cluster_name=None,
        _runner=recorder,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def launched(account: None, home: Path) -> Recorder:
    """`ray up`, and on its head, with the file that it was sent, the first worker."""
    del account
    efs = boto3.client("efs", REGION).create_file_system()["FileSystemId"]
    text = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text.replace("fs-00000000000000000", efs))
    recorder = Recorder()
    ray_up(config, recorder)
    there = recorder.bootstrap
    key = next((home / ".ssh").glob("*.pem"))
    shutil.copy(key, home / "ray_bootstrap_key.pem")  # as rsync puts it on the head
    provider = _get_node_provider(there["provider"], there["cluster_name"])
    pending = ConcurrentCounter()
    pending.inc("gpu_worker", 1)
    launcher = BaseNodeLauncher(
        provider=provider,
        pending=pending,
        event_summarizer=EventSummarizer(),
        node_provider_availability_tracker=NodeProviderAvailabilityTracker(),
        session_name="session",
        prom_metrics=AutoscalerPrometheusMetrics(session_name="session"),
        node_types=there["available_node_types"],
    )
    launcher.launch_node(there, 1, "gpu_worker")
    return recorder


def instance(kind: str) -> dict[str, Any]:
    """The one machine of a kind, as EC2 tells of it."""
    answer = boto3.client("ec2", REGION).describe_instances(
        Filters=[{"Name": "tag:ray-user-node-type", "Values": [kind]}]
    )
    (machine,) = [one for group in answer["Reservations"] for one in group["Instances"]]
    return machine


def tags(machine: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in machine["Tags"]}


@pytest.mark.usefixtures("launched")
def test_the_head_is_small_stays_and_may_start_machines() -> None:
    head = instance("head")
    assert head["InstanceType"] == "m6i.large"
    assert "InstanceLifecycle" not in head
    assert head["IamInstanceProfile"]["Arn"].endswith(":instance-profile/ray-autoscaler-v1")
    roles = boto3.client("iam", REGION).list_attached_role_policies(RoleName="ray-autoscaler-v1")
    names = {policy["PolicyName"] for policy in roles["AttachedPolicies"]}
    assert names == {"AmazonEC2FullAccess", "AmazonS3FullAccess"}
    assert tags(head)["Name"] == "ray-receipts-head"
    assert tags(head)["ray-node-type"] == "head"
    assert tags(head)["ray-node-status"] == "up-to-date"


@pytest.mark.usefixtures("launched")
def test_the_worker_is_a_gpu_machine_of_the_spot_market() -> None:
    worker = instance("gpu_worker")
    assert worker["InstanceType"] == "g5.xlarge"
    assert worker["InstanceLifecycle"] == "spot"
    assert tags(worker)["Name"] == "ray-receipts-worker"
    assert tags(worker)["ray-cluster-name"] == "receipts"


@pytest.mark.usefixtures("launched")
@pytest.mark.parametrize("kind", ["head", "gpu_worker"])
def test_image_disk_and_network_of_both(kind: str) -> None:
    machine, ec2 = instance(kind), boto3.client("ec2", REGION)
    assert machine["ImageId"] == ray_aws.DEFAULT_AMI[REGION]
    (disk,) = machine["BlockDeviceMappings"]
    assert disk["DeviceName"] == "/dev/sda1"
    assert disk["Ebs"]["DeleteOnTermination"], "a disk that nobody uses is not paid for"
    (volume,) = ec2.describe_volumes(VolumeIds=[disk["Ebs"]["VolumeId"]])["Volumes"]
    assert (volume["Size"], volume["VolumeType"]) == (150, "gp3")
    assert machine["Placement"]["AvailabilityZone"].startswith(REGION)
    (group,) = machine["SecurityGroups"]
    assert group["GroupName"] == "ray-autoscaler-receipts"


@pytest.mark.usefixtures("launched")
def test_from_outside_only_ssh_is_let_in() -> None:
    (group,) = boto3.client("ec2", REGION).describe_security_groups(
        Filters=[{"Name": "group-name", "Values": ["ray-autoscaler-receipts"]}]
    )["SecurityGroups"]
    outside = [rule for rule in group["IpPermissions"] if rule.get("IpRanges")]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in outside] == [(22, 22)]
    inside = [rule for rule in group["IpPermissions"] if rule.get("UserIdGroupPairs")]
    assert [pair["GroupId"] for rule in inside for pair in rule["UserIdGroupPairs"]] == [
        group["GroupId"]
    ]


def test_the_head_is_sent_token_and_program_and_starts_ray_with_the_token(
    launched: Recorder,
) -> None:
    sent = [" ".join(call) for call in launched.calls if call[0] == "rsync"]
    assert any("auth_token" in call for call in sent)
    assert any("receipt-orchestrator" in call and "--exclude .git/" in call for call in sent)
    run = [call[-1] for call in launched.calls if call[0] == "ssh"]
    assert any("chmod 600 ~/.ray/auth_token" in command for command in run)
    assert any(f'ray[default,tune]=={ray.__version__}"' in command for command in run)
    starts = [command for command in run if "ray start --head" in command]
    assert len(starts) == 1
    assert "RAY_AUTH_MODE=token" in starts[0]
    assert "RAY_OVERRIDE_RESOURCES='{\"CPU\":0}'" in starts[0].replace("'\"'\"'", "'")


@pytest.mark.usefixtures("account")
def test_a_missing_token_costs_a_machine_without_the_check(home: Path) -> None:
    """Why `orchestrator.cluster` exists: Ray launches first and looks at the token afterwards."""
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    config |= {"cluster_name": "tokenless", "file_mounts": {"~/t": str(home / "missing")}}
    with pytest.raises(FileNotFoundError):
        ray_up(config, Recorder())
    answer = boto3.client("ec2", REGION).describe_instances(
        Filters=[{"Name": "tag:ray-cluster-name", "Values": ["tokenless"]}]
    )
    assert len(answer["Reservations"]) == 1
