"""Quotas in files written as Linux writes them; this machine's own are whatever they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.place.cores import quotas, usable_cores
from orchestrator.place.resources import this_machine


def files(root: Path, texts: dict[str, str]) -> tuple[Path, Path]:
    """A folder of control groups, and the file that says which of them this process is in."""
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "fs", root / "self"


NEW = {"self": "0::/\n", "fs/cpu.max": "250000 100000\n"}
OLD = {
    "self": "7:memory:/\n4:cpu,cpuacct:/docker/7f3a\n0::/docker/7f3a\n",
    "fs/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
    "fs/cpu,cpuacct/cpu.cfs_period_us": "50000\n",
}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (NEW, [2.5]),
        (NEW | {"fs/cpu.max": "max 100000\n"}, []),
        (NEW | {"self": "0::/a/b\n", "fs/a/cpu.max": "100000 50000\n"}, [2.0, 2.5]),
        (OLD, [3.0]),
        (OLD | {"fs/cpu,cpuacct/cpu.cfs_quota_us": "-1\n"}, []),
        (OLD | {"self": "2:cpuacct:/\n1:memory:/\n"}, []),
        (NEW | {"fs/cpu.max": "no numbers\n"}, []),
        ({}, []),
    ],
)
def test_quotas_by_hand(tmp_path, texts, expected):
    assert list(quotas(*files(tmp_path, texts))) == expected


@pytest.mark.parametrize(("quota", "cores"), [("150000", 1), ("50000", 1), ("max", None)])
def test_a_quota_is_never_more_than_the_cores_there_are(tmp_path, quota, cores):
    bound = len(os.sched_getaffinity(0))
    found = usable_cores(*files(tmp_path, {**NEW, "fs/cpu.max": f"{quota} 100000\n"}))
    assert found == (bound if cores is None else cores)


def test_this_machine_is_counted_so():
    assert this_machine().cpus == usable_cores() <= len(os.sched_getaffinity(0))
