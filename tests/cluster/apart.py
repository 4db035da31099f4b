"""What machines of namespaces need of this computer; nothing on it is left changed by them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Namespaces that end with the process that asks for them, and everything in them.
APART = ("unshare", "--net", "--uts", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child")
# For daemons: the first process buries what they leave, as that of every machine does.
WITH_INIT = (*APART, "bash", "-c", '"$@" & wait $!', "init")


def story(
    script: Path, work: Path, pages: Path, *, apart: Sequence[str] = APART, seconds: float
) -> subprocess.CompletedProcess[str]:
    """What a script beside this one tells of `work` and `pages` in namespaces of its own."""
    return subprocess.run(
        [*apart, sys.executable, str(script), str(work), str(pages)],
        env={**os.environ, "PYTHONPATH": str(script.parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def missing(programs: Sequence[str]) -> str | None:
    """What this computer lacks; None when machines can be made on it that have these programs."""
    if os.getuid() != 0:
        return "machines are made of namespaces, which needs root"
    lacking = [program for program in programs if shutil.which(program) is None]
    if lacking:
        return f"{', '.join(lacking)} missing: see tests/cluster/install.sh"
    tried = subprocess.run(
        [*APART, "ip", "link", "add", "lan", "type", "bridge"], capture_output=True, check=False
    )
    if tried.returncode != 0:
        return f"no namespaces here: {tried.stderr.decode(errors='replace').strip()}"
    return None
