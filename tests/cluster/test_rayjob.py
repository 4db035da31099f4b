"""The files for Kubernetes: KubeRay accepts them, and their entrypoint does what it promises.

The schema is that of KubeRay 1.7; KUBERAY_RAYJOB_CRD names its `ray.io_rayjobs.yaml`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from ray.cluster_utils import Cluster

from orchestrator.run.command_line import parse_arguments

ROOT = Path(__file__).parents[2]
PATH = ROOT / "clusters" / "rayjob.yaml"
TEXT = PATH.read_text(encoding="utf-8")
SPEC = yaml.safe_load(TEXT)["spec"]
CLUSTER = SPEC["rayClusterSpec"]
HEAD = CLUSTER["headGroupSpec"]
(WORKERS,) = CLUSTER["workerGroupSpecs"]
VOLUME, FILES = yaml.safe_load_all((PATH.parent / "volume.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (PATH.parent / "Dockerfile").read_text(encoding="utf-8")
CRD = Path(
    os.environ.get(
        "KUBERAY_RAYJOB_CRD", ROOT.parent / "shared/data/cluster/kuberay_rayjob_crd.yaml"
    )
)
STORE = {"object_store_memory": 100_000_000}


def container(group: dict[str, Any]) -> dict[str, Any]:
    (only,) = group["template"]["spec"]["containers"]
    return only


def variables() -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(HEAD)["env"]}


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as `kubectl apply` reads it: fields that it does not name are faults."""
    found = dict(schema)
    if "properties" in schema:
        found["properties"] = {k: strict(v) for k, v in schema["properties"].items()}
        found.setdefault("additionalProperties", False)
    if isinstance(schema.get("items"), dict):
        found["items"] = strict(schema["items"])
    return found


def accepts(manifest: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    return [error.message for error in Draft202012Validator(schema).iter_errors(manifest)]


@pytest.mark.skipif(not CRD.is_file(), reason="KUBERAY_RAYJOB_CRD: there is no such file")
def test_kuberays_own_schema_accepts_it():
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # it is large
    crd = yaml.load(CRD.read_text(encoding="utf-8"), loader)
    manifest = yaml.safe_load(TEXT)
    assert manifest["kind"] == crd["spec"]["names"]["kind"]
    group, version = manifest["apiVersion"].split("/")
    assert group == crd["spec"]["group"]
    (served,) = (v for v in crd["spec"]["versions"] if v["name"] == version and v["served"])
    schema = strict(served["schema"]["openAPIV3Schema"])
    assert accepts(manifest, schema) == []

    # It would notice a misspelt key, a wrong type and a missing field.
    spec = manifest["spec"]
    (fault,) = accepts(manifest | {"spec": spec | {"backofLimit": 3}}, schema)
    assert "backofLimit" in fault
    (fault,) = accepts(manifest | {"spec": spec | {"backoffLimit": "3"}}, schema)
    assert "integer" in fault
    del spec["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplicas"]
    (fault,) = accepts(manifest, schema)
    assert "maxReplicas" in fault


def test_what_kuberay_checks_beyond_its_schema():
    name = yaml.safe_load(TEXT)["metadata"]["name"]
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 47
    assert SPEC["shutdownAfterJobFinishes"] or not SPEC["ttlSecondsAfterFinished"]
    for group in (HEAD, WORKERS):  # its newer autoscaler restarts pods itself
        assert "restartPolicy" not in group["template"]["spec"]
        given = group["rayStartParams"].values()
        assert all(isinstance(value, str) for value in given)
    assert "submitterPodTemplate" not in SPEC  # nobody is one with HTTPMode
    assert SPEC["submissionMode"] == "HTTPMode"


def test_one_ray_everywhere():
    wanted = set(re.findall(r"ray\[\S+\]==([\d.]+)", (ROOT / "cluster.yaml").read_text()))
    assert wanted == {CLUSTER["rayVersion"]}
    pinned = re.findall(r"(?m)^ray==(.+)$", (ROOT / "requirements/constraints.txt").read_text())
    assert wanted == set(pinned)
    (image,) = re.findall(r"(?m)^FROM (\S+)$", DOCKERFILE)
    assert re.fullmatch(rf"rayproject/ray:{CLUSTER['rayVersion']}-py3\d+-gpu", image)


def test_the_image_has_all_that_the_package_is_made_of():
    copied = {
        word
        for line in re.findall(r"(?m)^COPY --chown=\S+ (.+)$", DOCKERFILE)
        for word in line.split()[:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
    packages = {"detector", "orchestrator", "search_spaces"}
    assert copied == packages | {"pyproject.toml", "README.md", "requirements"}
    assert "-c requirements/constraints.txt ." in DOCKERFILE


def test_a_head_without_trials_and_gpu_workers_that_come_and_go():
    assert HEAD["rayStartParams"]["num-cpus"] == "0"
    assert "nvidia.com/gpu" not in container(HEAD)["resources"]["limits"]
    assert container(WORKERS)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert CLUSTER["enableInTreeAutoscaling"] is True
    assert WORKERS["minReplicas"] <= WORKERS["replicas"] <= WORKERS["maxReplicas"]


def test_names_mean_the_same_in_all_files():
    claim = VOLUME["metadata"]["name"]
    assert VOLUME["spec"]["accessModes"] == ["ReadWriteMany"]
    for spec in (HEAD["template"]["spec"], WORKERS["template"]["spec"], FILES["spec"]):
        (shared,) = (v for v in spec["volumes"] if "persistentVolumeClaim" in v)
        assert shared["persistentVolumeClaim"]["claimName"] == claim
        (only,) = spec["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in only["volumeMounts"]}
        assert mounts[shared["name"]] == "/mnt/shared"
        assert mounts.keys() == {volume["name"] for volume in spec["volumes"]}
    assert all(variables()[key].startswith("/mnt/shared/") for key in ("DATA", "RUNS"))
    for group in (HEAD, WORKERS):
        (shm,) = (v for v in group["template"]["spec"]["volumes"] if "emptyDir" in v)
        assert shm["emptyDir"]["medium"] == "Memory"
        mounts = container(group)["volumeMounts"]
        assert {"name": shm["name"], "mountPath": "/dev/shm"} in mounts
    assert f"kubectl cp receipts {FILES['metadata']['name']}:/mnt/shared/" in TEXT
    assert f"svc/{yaml.safe_load(TEXT)['metadata']['name']}-head-svc" in TEXT


def test_the_token_is_asked_for_and_how_it_is_made_is_shown():
    assert CLUSTER["authOptions"]["mode"] == "token"
    secret = CLUSTER["authOptions"]["secretName"]
    made = TEXT.replace("\\\n#", "")
    assert re.search(rf"kubectl create secret generic {secret} +--from-literal=auth_token=", made)


@pytest.mark.parametrize("bucket", [False, True])
def test_the_entrypoint_is_understood(bucket):
    line, given = SPEC["entrypoint"], variables()
    if bucket:
        (line,) = re.findall(r"#   entrypoint: >-\n#     (.+)\n", TEXT)
        given |= {name: url for url, name in re.findall(r"(s3://\S+) as (DATA|RUNS)", TEXT)}
    words = shlex.split(re.sub(r"\$(\w+)", lambda found: given[found[1]], line))
    assert words[:3] == ["python", "-m", "orchestrator.search"]
    config, overrides = parse_arguments(words[3:])
    assert (config.space, config.name, config.resume) == ("dbnetpp", "first", "auto")
    if bucket:
        assert (config.bucket, config.data_from) == (given["RUNS"], given["DATA"])
    else:
        assert str(config.runs_dir) == given["RUNS"]
        assert overrides == {"data.root": given["DATA"]}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without cores, as in the file, and a node with one."""
    head = {"num_cpus": 0, "include_dashboard": False, **STORE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=1, **STORE)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.mark.faults
def test_the_entrypoint_goes_on_with_what_it_has_begun(
    cluster, search, receipts, start, states, wait_for, tmp_path
):
    run, log = tmp_path / "runs" / "first", tmp_path / "log.txt"
    given = {"SEARCH": search, "NAME": "first", "DATA": str(receipts), "RUNS": str(run.parent)}
    given |= {"RAY_ADDRESS": cluster.address}  # which Ray gives a job
    first = start(SPEC["entrypoint"], cwd=tmp_path, log=log, **given)
    wait_for(
        lambda: [*run.glob("trials/*/checkpoint/last.safetensors")],
        "a trial's first epoch",
        while_=lambda: first.poll() is None,
        told=log.read_text,
    )
    os.killpg(first.pid, signal.SIGKILL)  # as with the pod of the head
    first.wait()
    settings = (run / "config.yaml").read_bytes()

    assert start(SPEC["entrypoint"], cwd=tmp_path, log=log, **given).wait() == 0, log.read_text()
    assert states(run) == ["finished"] * 3
    assert (run / "config.yaml").read_bytes() == settings
    events = [json.loads(line)["kind"] for line in (run / "events.jsonl").open()]
    assert [kind for kind in events if kind in ("search_started", "search_resumed")] == [
        "search_started",
        "search_resumed",
    ]
