"""What machines of namespaces need of this computer; nothing on it is left changed by them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

# Namespaces that end with the process that asks for them, and everything in them.
APART = ("unshare", "--net", "--uts", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child")
# For daemons: the first process buries what they leave, as that of every machine does.
WITH_INIT = (*APART, "bash", "-c", '"$@" & wait $!', "init")


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
