"""Each rule by a machine in which one thing is other: ten faults injected, ten named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.machines.look import Disk, Files, Machine
from orchestrator.machines.rules import GIB, Answer, Own, findings

VERSIONS = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.9.0", "numpy": "2.4.0", "code": "aa"}
MACHINE = Machine(
    versions=VERSIONS,
    gpus=2,
    gpu_fault=None,
    disks=(Disk("Ray", "/tmp", 50 * GIB, 100 * GIB),),
    shared_memory=8 * GIB,
    exchange=None,
    data=None,
    files=Files(500, "d1", whole=True),
    began=1000.4,
    ended=1001.0,
)
ANSWER = Answer("10.0.0.2", MACHINE, "", told_gpus=2, heard=True, asked=1000.0, received=1001.5)
OWN = Own(VERSIONS, MACHINE.files, Path("/data"), "/runs", loaders=True)


def said(answer: Answer, own: Own = OWN) -> list[tuple[bool, str]]:
    return [(finding.fault, str(finding)) for finding in findings(answer, own)]


def changed(**changes: Any) -> Answer:
    return replace(ANSWER, machine=replace(MACHINE, **changes))


def test_nothing_is_said_of_a_machine_that_is_as_it_should_be():
    assert said(ANSWER) == []
    assert said(changed(files=None), replace(OWN, files=None, data=None)) == []


FAULTS = {
    "python": (
        changed(versions=VERSIONS | {"python": "3.11.9"}),
        "10.0.0.2: python 3.11.9, but 3.11.7 on the machine of the search; install the same "
        "Python to the patch: Ray sends functions as its bytecode",
    ),
    "torch": (
        changed(versions=VERSIONS | {"torch": "2.8.0"}),
        "10.0.0.2: torch 2.8.0, but 2.9.0 on the machine of the search; install one version of "
        "torch, or trials cannot be compared",
    ),
    "code": (
        changed(versions=VERSIONS | {"code": "bb"}),
        "10.0.0.2: code bb, but aa on the machine of the search; install the same revision of "
        "this program on all machines",
    ),
    "driver": (
        changed(gpus=0, gpu_fault="torch is built for CPUs"),
        "10.0.0.2: Ray was told of 2 GPUs, and torch sees 0 (torch is built for CPUs); mend the "
        "driver or torch's build there, or start Ray with --num-gpus=0",
    ),
    "disk": (
        changed(disks=(Disk("Ray", "/tmp", GIB // 2, 100 * GIB),)),
        "10.0.0.2: /tmp, for Ray, has 512 MiB free, less than 1.0 GiB; make room there",
    ),
    "shared memory": (
        changed(shared_memory=GIB // 16),
        "10.0.0.2: /dev/shm has 64 MiB free, through which loaders pass their samples, less than "
        "128 MiB; give the container more (docker run --shm-size=2g), or add data.workers=0",
    ),
    "run folder": (
        changed(exchange="what the search wrote there is not to be seen"),
        "10.0.0.2: /runs cannot be used (what the search wrote there is not to be seen); trials "
        "keep their files there: share that folder by the same path on all machines, or give "
        "bucket=s3://…",
    ),
    "another folder": (
        replace(ANSWER, heard=False),
        "10.0.0.2: /runs is another one there: the search does not see its file; trials keep "
        "their files there: share that folder by the same path on all machines, or give "
        "bucket=s3://…",
    ),
    "data": (
        changed(files=Files(480, "d2", whole=True)),
        "10.0.0.2: /data holds 480 files, not 500, unlike that of the search; share the folder, "
        "copy it again, or give data.root=s3://…",
    ),
    "clock": (
        changed(began=400.0, ended=401.0),
        "10.0.0.2: its clock is 600 s behind, more than 300 s; set it, buckets refuse such times",
    ),
    "silence": (
        replace(ANSWER, machine=None, reason="no answer within 30 s; see whether it is alive"),
        "10.0.0.2: no answer within 30 s; see whether it is alive",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_figure_rule_and_remedy(name: str):
    answer, text = FAULTS[name]
    assert said(answer) == [(True, text)]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (changed(versions=VERSIONS | {"numpy": "2.3.0"}), "numpy 2.3.0, but 2.4.0 on the machine"),
        (replace(ANSWER, told_gpus=0), "torch sees 2 GPUs that Ray was not told of"),
        (changed(disks=(Disk("Ray", "/tmp", 4 * GIB, 9 * GIB),)), "has 4.0 GiB free of 9.0 GiB"),
        (changed(disks=(Disk("Ray", "/tmp", 40 * GIB, 900 * GIB),)), "40.0 GiB free of 900.0 GiB"),
        (changed(shared_memory=GIB // 2), "/dev/shm has 512 MiB free"),
        (changed(files=Files(9, "x", whole=False)), "/data has too many files to compare in time"),
        (changed(began=1009.0, ended=1009.5), "its clock is 8 s ahead"),
    ],
)
def test_a_warning_goes_on(answer: Answer, text: str):
    ((fault, found),) = said(answer)
    assert not fault
    assert text in found


def test_names_or_sizes_of_as_many_files_are_told_apart():
    ((fault, found),) = said(changed(files=Files(500, "d2", whole=True)))
    assert fault
    assert "/data holds 500 files, some of other names or sizes" in found


def test_what_travelling_can_explain_is_no_skew():
    """Asked at 1000.0 and heard at 1001.5: a clock 5 s ahead at most may say up to 1006.5."""
    assert said(changed(began=1005.0, ended=1006.4)) == []
    assert said(changed(began=995.1, ended=996.0)) == []
    assert len(said(changed(began=994.9, ended=996.0))) == 1


def test_little_shared_memory_is_nothing_without_loaders():
    assert said(changed(shared_memory=GIB // 16), replace(OWN, loaders=False)) == []
    assert said(changed(shared_memory=None)) == []


def test_a_bucket_has_a_remedy_of_its_own():
    own = replace(OWN, place="s3://bucket/runs")
    ((_, found),) = said(changed(exchange="ACCESS_DENIED"), own)
    assert found.endswith("(ACCESS_DENIED); each machine must list, read, write and delete there")


def test_a_gpu_that_cannot_be_used_is_a_fault():
    ((fault, found),) = said(changed(gpu_fault="CUDA error: out of memory"))
    assert fault
    assert "a GPU cannot be used (CUDA error: out of memory)" in found
