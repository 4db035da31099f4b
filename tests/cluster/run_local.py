"""The whole life of a cluster of `cluster.local.yaml`, on machines made for it.

`ray up`, a stranger without the token, a search over the head and two workers of which one is
switched off meanwhile, `ray down`. Run as root in namespaces of its own, which
`test_local_cluster.py` makes; prints one JSON object about what happened. Arguments: an empty
folder to work in, and a folder of pages.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from nodes import Node, make_key, make_network, run, start_node

from orchestrator.run.study import stored_study
from orchestrator.store.storage import storage_url
from orchestrator.trials.records import TrialRecord

REPOSITORY = Path(__file__).parents[2]
VENV = Path(sys.prefix)
RAY = VENV / "bin" / "ray"
PYTHON = "~/receipts-venv/bin/python"
STORE_BYTES = 78_643_200  # the least that Ray takes
CLUSTER = f"test-{time.time_ns()}"
EPOCHS = 10
WAIT_S = 240.0
SPACE = f"""\
description: a space for a test of a cluster
fixed:
  data.longest_side_px: 224
  augment.crop_px: 64
  model.backbone: mobilenetv3_small_050
  model.weights: none
  model.neck_channels: 16
  train.batch_size: 2
parameters:
  optimizer.lr: {{choice: [0.001, 0.002, 0.003, 0.004, 0.005, 0.006]}}
budget: {{trials: 5, epochs: {EPOCHS}, grace_epochs: {EPOCHS}, reduction_factor: 2}}
"""


def main(work: Path, pages: Path) -> dict[str, Any]:
    """The story; what it found, for the test to judge."""
    laptop = begin(work)
    key = laptop / "key"
    make_key(key)
    names = ("head", "one", "two")
    public = key.with_suffix(".pub")
    nodes = [
        start_node(number, name, folder=work / name, venv=VENV, public_key=public)
        for number, name in enumerate(names, start=2)
    ]
    config = write_config(laptop, nodes, key)
    (work / "space.yaml").write_text(SPACE, encoding="utf-8")
    until(lambda: accepts_ssh(nodes, key), "SSH")
    call(RAY, "get-auth-token", "--generate")
    (laptop / ".ray" / "auth_token").chmod(0o600)
    call(RAY, "up", "-y", "--no-config-cache", config)
    until(lambda: all(processes_of(node, "raylet") for node in nodes), "Ray on every machine")
    tokens = [node.home / ".ray" / "auth_token" for node in nodes]
    found: dict[str, Any] = {
        "token_modes": [oct(token.stat().st_mode & 0o777) for token in tokens],
        "same_token": len({token.read_text(encoding="utf-8") for token in tokens}) == 1,
        "stranger": stranger(config, work, pages, nodes[0]),
        "search": searched(config, work, pages, nodes),
    }
    call(RAY, "down", "-y", config)
    until(lambda: not any(processes_of(n, "raylet") for n in nodes), "Ray to end everywhere")
    found["left"] = [name for node in nodes for name in processes_of(node, "gcs_server")]
    return found


def begin(work: Path) -> Path:
    """This process is the user's own computer from here on; its home, which is empty."""
    laptop = work / "laptop"
    (laptop / "ray").mkdir(parents=True)
    os.environ |= {"HOME": str(laptop), "TMPDIR": str(laptop), "RAY_USAGE_STATS_ENABLED": "0"}
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        os.environ.pop(name, None)
    Path("/tmp/ray").mkdir(exist_ok=True)
    run("mount", "--bind", str(laptop / "ray"), "/tmp/ray")
    make_network()
    return laptop


def write_config(folder: Path, nodes: list[Node], key: Path) -> Path:
    """`cluster.local.yaml` for these machines: less to install, and small."""
    config = yaml.safe_load((REPOSITORY / "cluster.local.yaml").read_text(encoding="utf-8"))
    config["cluster_name"] = CLUSTER
    head, *workers = [node.address for node in nodes]
    config["provider"] |= {"head_ip": head, "worker_ips": workers}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(key)}
    config["file_mounts"]["~/receipt-orchestrator"] = str(REPOSITORY)
    config["setup_commands"] = [c for c in config["setup_commands"] if "pip install" not in c]
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        config[commands] = [
            f"{c} --num-cpus=1 --object-store-memory={STORE_BYTES}" if "ray start" in c else c
            for c in config[commands]
        ]
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def accepts_ssh(nodes: list[Node], key: Path) -> bool:
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    return all(
        subprocess.run(
            ["ssh", "-i", str(key), *options, f"root@{node.address}", "true"],
            capture_output=True,
            check=False,
        ).returncode
        == 0
        for node in nodes
    )


def stranger(config: Path, work: Path, pages: Path, head: Node) -> dict[str, Any]:
    """What someone on the head sees who has no token."""
    empty = work / "stranger"
    empty.mkdir()
    python = head.home / "receipts-venv" / "bin" / "python"
    command = search_command(python, work, pages, empty)
    done = execute(config, f"RAY_ADDRESS={head.address}:6379 HOME={empty} {command}")
    return {
        "code": done.returncode,
        "errors": [line for line in done.stdout.splitlines() if line.startswith("error:")],
        "noise": [line for line in done.stdout.splitlines() if "gcs_client" in line],
    }


def searched(config: Path, work: Path, pages: Path, nodes: list[Node]) -> dict[str, Any]:
    """A search during which a worker is switched off, once every machine has had a trial."""
    folder = work / "runs" / "first"
    command = search_command("~/receipts-venv/bin/python", work, pages, folder.parent)
    with (work / "search.log").open("wb") as log:
        search = subprocess.Popen(
            [RAY, "exec", config, f"RAY_ADDRESS=auto {command}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        seen: dict[str, set[int]] = {node.name: set() for node in nodes}
        victim, trial, epoch = until(lambda: ripe(search, folder, nodes, seen), "a worker to lose")
        victim.pull_the_plug()
        code = search.wait()
    records = read(folder)
    return {
        "code": code,
        "trials_of": {name: sorted(trials) for name, trials in seen.items()},
        "victim": victim.name,
        "lost": {"trial": trial, "epoch": epoch},
        "states": [record.state.value for record in records],
        "epochs": [record.epochs for record in records],
        "reasons": [record.reason for record in records],
        "resumed_after": resumed_after(folder, trial),
        "leaderboard": (folder / "leaderboard.csv").is_file(),
        "best": (folder / "best" / "model.safetensors").is_file(),
    }


def search_command(python: str | Path, work: Path, pages: Path, runs: Path) -> str:
    return (
        f"PYTHONPATH=~/receipt-orchestrator {python} -m orchestrator.search "
        f"space={work / 'space.yaml'} name=first runs_dir={runs} data.root={pages} "
        "resources.gpus_per_trial=0 resources.cpus_per_trial=1"
    )


def ripe(
    search: subprocess.Popen[bytes], folder: Path, nodes: list[Node], seen: dict[str, set[int]]
) -> tuple[Node, int, int] | None:
    """A worker that is in the middle of a trial, the trial, and its last epoch; None as yet."""
    if search.poll() is not None:
        raise RuntimeError(f"the search ended early, with {search.returncode}; see search.log")
    now = {node.name: trial_on(node) for node in nodes}
    for name, trial in now.items():
        seen[name] |= set() if trial is None else {trial}
    if not all(seen.values()):
        return None
    epochs = {int(record.trial): record.epochs for record in read(folder)}
    for node in nodes[1:]:
        trial = now[node.name]
        if trial is not None and 2 <= epochs.get(trial, 0) <= EPOCHS - 3:
            return node, trial, epochs[trial]
    return None


def trial_on(node: Node) -> int | None:
    """The number of the trial whose log a process of the machine holds open."""
    for process in processes_of(node, ""):
        with suppress(OSError):  # it ended meanwhile
            for opened in (process / "fd").iterdir():
                path = opened.readlink()
                if path.name == "log.txt" and path.parent.parent.name == "trials":
                    return int(path.parent.name)
    return None


def processes_of(node: Node, word: str) -> list[Path]:
    """Folders in /proc of the machine's processes with `word` in their command."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            if (process / "ns" / "uts").readlink() != node.space:
                continue
            if word in (process / "cmdline").read_bytes().decode(errors="replace"):
                found.append(process)
    return found


def resumed_after(folder: Path, trial: int) -> list[int]:
    """The epochs after which the trial was resumed, from its log."""
    log = (folder / "trials" / f"{trial:05d}" / "log.txt").read_text(encoding="utf-8")
    return [int(epoch) for epoch in re.findall(r"resuming after epoch (\d+)", log)]


def read(folder: Path) -> list[TrialRecord]:
    """What the study of the run says now."""
    return stored_study(storage_url(folder, None), folder.name).records()


def until(check: Callable[[], Any], what: str) -> Any:
    """Wait for a true answer and return it; RuntimeError when it takes too long."""
    begin = time.monotonic()
    while not (answer := check()):
        if time.monotonic() - begin > WAIT_S:
            raise RuntimeError(f"waited {WAIT_S:g} s in vain for {what}")
        time.sleep(0.5)
    print(f"{what}: after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return answer


def execute(config: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the head, as `ray exec` does."""
    return subprocess.run(
        [RAY, "exec", config, command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def call(*command: Any) -> None:
    """Run a command of the user's; RuntimeError with its output when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    print(done.stdout.decode(errors="replace"), file=sys.stderr)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command[:3]))} ended with {done.returncode}")


def forget_connections() -> None:
    """Remove the sockets of SSH connections, which Ray keeps outside of this test's folder."""
    for folder in Path("/tmp").glob(f"ray_ssh_*/{sha256(CLUSTER.encode()).hexdigest()[:10]}"):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    atexit.register(forget_connections)
    print(json.dumps(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())))
