"""A Ray cluster that grows: the nodes of Ray's fake provider are processes on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
HEAD_ID = "f" * 51 + "00000"


class Head:
    """`ray start --head` without cores, which grows by at most two workers if `workers` says so.

    A worker without work goes after `idle_minutes`.
    """

    def __init__(
        self, workers: dict[str, int] | None = None, *, newer: bool = True, idle_minutes: float = 5
    ) -> None:
        self._idle_minutes = idle_minutes
        self._folder = Path(tempfile.mkdtemp(dir="/tmp"))  # short, for Ray's sockets
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
            "RAY_TMPDIR": str(self._folder),
            "RAY_AUTH_MODE": "disabled",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # everything on loopback
            "RAY_enable_autoscaler_v2": str(int(newer)),
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        }
        if workers is not None:
            node = {"RAY_CLOUD_INSTANCE_ID": HEAD_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID}
            self.environment |= {"RAY_FAKE_CLUSTER": "1", **node}
        self._start(workers)

    def _start(self, workers: dict[str, int] | None) -> None:
        ray_command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head"]
        port = self.address.rpartition(":")[2]
        store = "--object-store-memory=80000000"
        options = [f"--port={port}", "--num-cpus=0", "--num-gpus=0", store]
        if workers is not None:
            (self._folder / "grows.json").write_text(json.dumps(self._config(workers)))
            options.append(f"--autoscaling-config={self._folder / 'grows.json'}")
        subprocess.run(
            [*ray_command, *options, "--include-dashboard=false"],
            env=self.environment,
            check=True,
            capture_output=True,
        )

    def _config(self, workers: dict[str, int]) -> dict[str, Any]:
        module = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
        kinds = {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {**workers, "object_store_memory": 80_000_000},
                "node_config": {},
                "min_workers": 0,
                "max_workers": 2,
            },
        }
        empty = ("initialization", "setup", "head_setup", "worker_setup")
        started = ("head_start_ray", "worker_start_ray")
        return {
            **{f"{name}_commands": [] for name in (*empty, *started)},
            **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
            **{name: {} for name in ("auth", "docker", "file_mounts")},
            "file_mounts_sync_continuously": False,
            "upscaling_speed": 1.0,
            "idle_timeout_minutes": self._idle_minutes,
            "cluster_name": "grows",
            "max_workers": 2,
            "provider": {
                "type": "external",
                "module": module,
                "gcs_address": self.address,
                "head_node_id": HEAD_ID,
                "launch_multiple": True,
            },
            "head_node_type": "ray.head.default",
            "available_node_types": kinds,
        }

    def drive(self, file: str, call: str) -> list[str]:
        """The lines that a function of a file prints in a process that joins."""
        code = f"import runpy; names = runpy.run_path({file!r}); eval({call!r}, names)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=self.environment | {"RAY_ADDRESS": self.address, "PYTHONPATH": PATHS},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def end(self) -> None:
        """End what was started here and below, which its folder in the environment shows."""
        mark = f"RAY_TMPDIR={self._folder}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:  # it has ended, or is not ours
                continue
        shutil.rmtree(self._folder, ignore_errors=True)
