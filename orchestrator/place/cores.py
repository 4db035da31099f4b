"""The cores that this process may use: what it is bound to, and what a container leaves it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """At least 1. The arguments are Linux's files about control groups; elsewhere there are none.

    A quota of time, as containers and batch systems set it, counts in whole cores, as for Ray: with
    more processes than that all of them are halted for a part of each tenth of a second.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = min(quotas(root, membership), default=float("inf"))
    return max(1, int(min(bound or 1, quota)))


def quotas(root: Path, membership: Path) -> Iterator[float]:
    """In cores, each limit on the groups that this process is in and on those around them.

    Both versions of cgroups(7). The groups outside a container are not seen from inside.
    """
    lines = membership.read_text(encoding="utf-8").splitlines() if membership.is_file() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")  # [""] in version 2
        if "cpu" not in names and controllers:
            continue
        for top in {root / controllers, *(root / name for name in names)}:
            group = top / path.lstrip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(top) and (limit := _quota(folder)):
                    yield limit


def _quota(group: Path) -> float | None:
    """The limit on one group; None without one, as "max" and -1 say it too."""
    try:
        if (group / "cpu.max").is_file():
            time, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        else:
            time = (group / "cpu.cfs_quota_us").read_text(encoding="utf-8").strip()
            period = (group / "cpu.cfs_period_us").read_text(encoding="utf-8")
        return float(time) / float(period) if time.isdigit() else None
    except (OSError, ValueError):
        return None
