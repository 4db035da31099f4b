"""Slurm for a test: a controller and two machines on one host, as Debian's `slurm-wlm` has them.

Made for `run_slurm.py`, which runs as root in namespaces of its own: those end the daemons. Nothing
of a Slurm or munge that this computer has is used or changed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

WAIT_S = 60.0
# cred_expire: Slurm keeps a requeued job back for as long as its credentials last.
CONF = """\
ClusterName=test
SlurmctldHost={host}({address})
SlurmctldPort=16817
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=30
NodeName=n1 NodeHostname={host} NodeAddr={address} Port=16818 CPUs=1 RealMemory=2000
NodeName=n2 NodeHostname={host} NodeAddr={address} Port=16819 CPUs=2 RealMemory=2000
PartitionName=p Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Job:
    """A job as Slurm has it now; `code` is that of the script, 0 while it runs."""

    state: str
    restarts: int
    code: int


def start_slurm(folder: Path, address: str) -> None:
    """Start it below an empty folder, and return when both machines are idle.

    SLURM_CONF is set in this process. RuntimeError when it does not come up.
    """
    (folder / "state").mkdir(parents=True)
    folder.chmod(0o755)  # munge asks for it
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    host = socket.gethostname().split(".")[0]
    conf.write_text(CONF.format(folder=folder, host=host, address=address))
    os.environ["SLURM_CONF"] = str(conf)
    files = {name: folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
    call(
        *("munged", "--force", f"--key-file={key}", f"--socket={files['socket']}"),
        *(f"--{name}-file={files[name]}" for name in ("pid", "log", "seed")),
    )
    call("slurmctld")
    for name in ("n1", "n2"):
        call("slurmd", "-N", name)
    end = time.monotonic() + WAIT_S
    while (states := call("sinfo", "--noheader", "--Node", "--format=%T").split()) != ["idle"] * 2:
        if time.monotonic() > end:
            raise RuntimeError(f"the machines of Slurm are {states}; see {folder}/*.log")
        time.sleep(0.2)


def submit(*arguments: object) -> str:
    """The number of a new job."""
    return call("sbatch", "--parsable", *arguments).strip()


def look(job: str) -> Job:
    """What Slurm says of a job."""
    words = call("scontrol", "--oneliner", "show", "job", job).split()
    fields = dict(word.split("=", 1) for word in words if "=" in word)
    code = int(fields["ExitCode"].partition(":")[0])
    return Job(fields["JobState"], int(fields["Restarts"]), code)


def call(*command: object) -> str:
    """What a command prints; RuntimeError with its errors when it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command[:3]))}: {done.stderr.strip()}")
    return done.stdout
