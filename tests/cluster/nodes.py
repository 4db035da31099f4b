"""Machines for a test: each has its own network, processes, host name and home.

They share this machine's files, as machines with a network file system do. Namespaces of the
kernel keep them apart, so `ray stop` on one of them ends nothing elsewhere, and the end of the
process that made them ends them all, however it comes about. Made for `run_local.py`, which
runs as root in namespaces of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# Set aside for tests between network devices (RFC 2544), so nothing real has such an address.
NETWORK = "198.18.0"
GATEWAY = f"{NETWORK}.1"
START_S = 60.0

# The first process of a machine. It waits for its network card, then lets people in.
BOOT = """\
set -eu
while ! ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip link set lo up
ip addr add "$ADDRESS/24" dev eth0
ip link set eth0 up
ip route add default via "$GATEWAY"
hostname "$NAME"
mount -t tmpfs none /dev/shm
mount -t tmpfs none /run
mount --bind "$FOLDER/ray" /tmp/ray
mount --bind "$FOLDER/passwd" /etc/passwd
mount --bind "$FOLDER/shadow" /etc/shadow
mkdir -p /run/sshd
/usr/sbin/sshd -D -e -f "$FOLDER/sshd_config" &
wait $!
"""

SSHD_CONFIG = """\
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
"""


@dataclass(frozen=True)
class Node:
    """A machine that runs: its address, its home, and the process that keeps it alive.

    space: the link that all its processes have as /proc/*/ns/uts.
    """

    name: str
    address: str
    home: Path
    space: Path
    process: subprocess.Popen[bytes]

    def pull_the_plug(self) -> None:
        """End every process of the machine at once, by ending the one that holds it."""
        self.process.kill()
        self.process.wait()


def make_network() -> None:
    """A switch that machines are plugged into; this process is at GATEWAY."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "lan", "type", "bridge")
    run("ip", "addr", "add", f"{GATEWAY}/24", "dev", "lan")
    run("ip", "link", "set", "lan", "up")


def make_key(path: Path) -> None:
    """An SSH key without a passphrase at `path`, its public part beside it."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))


def start_node(number: int, name: str, *, folder: Path, venv: Path, public_key: Path) -> Node:
    """Machine `number` (2 to 254), with an SSH server; `venv` is its ~/receipts-venv."""
    home = folder / "home"
    for made in (home, folder / "ray"):
        made.mkdir(parents=True)
    for file in (".profile", ".bashrc"):  # what Debian gives every new user
        shutil.copy(Path("/etc/skel") / file, home / file)
    (home / "receipts-venv").symlink_to(venv)
    make_key(folder / "host_key")
    shutil.copy(public_key, folder / "authorized_keys")
    (folder / "sshd_config").write_text(SSHD_CONFIG.format(folder=folder))
    _write_users(folder, home)

    boot = ["unshare", "--net", "--uts", "--pid", "--mount", "--mount-proc"]
    address = f"{NETWORK}.{number}"
    with (folder / "boot.log").open("wb") as log:
        process = subprocess.Popen(
            [*boot, "--fork", "--kill-child", "bash", "-c", BOOT],
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "ADDRESS": address,
                "GATEWAY": GATEWAY,
                "NAME": name,
                "FOLDER": str(folder),
            },
            stdout=log,
            stderr=log,
        )
    _wait_for_network(process)
    card = f"veth{number}"
    peer = ["peer", "name", "eth0", "netns", str(process.pid)]
    run("ip", "link", "add", card, "type", "veth", *peer)
    run("ip", "link", "set", card, "master", "lan", "up")
    space = Path(f"/proc/{process.pid}/ns/uts").readlink()
    return Node(name, address, home, space, process)


def run(*command: str) -> None:
    """Run a command; CalledProcessError when it fails."""
    subprocess.run(command, check=True)


def _write_users(folder: Path, home: Path) -> None:
    """Files of users with root alone, who may log in and lives in `home`."""
    (folder / "passwd").write_text(
        f"root:x:0:0:root:{home}:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
    )
    (folder / "shadow").write_text("root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n")


def _wait_for_network(process: subprocess.Popen[bytes]) -> None:
    """Wait until the process has left this process's network for its own."""
    ours = Path("/proc/self/ns/net").readlink()
    end = time.monotonic() + START_S
    while Path(f"/proc/{process.pid}/ns/net").readlink() == ours:
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError("a machine's network could not be made; see its boot.log")
        time.sleep(0.02)
