"""How Ray is started here, and where it listens; what it runs is covered by the searches' tests."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from detector.core.errors import JobError
from orchestrator.place import cluster
from orchestrator.place.resources import Machine

BUSY = "The current node timed out during startup. This could happen because some of the raylet"


@pytest.mark.parametrize("slow_starts", [0, 2])
def test_a_busy_machine_gets_more_time_to_start_ray(monkeypatch, capsys, slow_starts):
    """Ray's own patience cannot be set, so its start is what is replaced here."""
    errors = [Exception(BUSY)] * slow_starts
    ended: list[bool] = []

    def init(**_):
        if errors:
            raise errors.pop()

    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: ended.append(True))
    cluster._start_here(Machine(1, 0), {})
    assert len(ended) == slow_starts
    assert capsys.readouterr().err.count("this machine is busy: trying again") == slow_starts


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (BUSY, JobError, "did not start on this machine in 4 tries of half a minute; see whether"),
        ("no such option", ValueError, "no such option"),
    ],
)
def test_a_ray_that_does_not_start_is_told(monkeypatch, error, expected, message):
    def init(**_):
        raise Exception(error) if error == BUSY else ValueError(error)

    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: None)
    with pytest.raises(expected, match=message):
        cluster._start_here(Machine(1, 0), {})


def test_a_ray_of_this_machine_listens_to_this_machine_alone(ray_cluster):
    """Of every process below this one, and of this one, which is a worker of Ray too."""
    assert ray_cluster
    me = importlib.import_module("psutil").Process()  # Ray brings it along
    assert ray.get(ray.remote(num_cpus=1)(lambda: os.getpid()).remote()) != me.pid
    sockets = [
        connection.laddr.ip.removeprefix("::ffff:")
        for process in (me, *me.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    ]
    assert len(sockets) >= 5  # the driver, the control store, two of the raylet, a worker
    assert set(sockets) == {"127.0.0.1"}


def test_folders_of_searches_that_are_over_go_but_the_newest_two(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    owners = {"1": ended.pid, "2": os.getpid(), "3": "", "4": ended.pid, "5": ended.pid}
    for name, pid in owners.items():
        (tmp_path / f"session_{name}" / "logs").mkdir(parents=True)
        (tmp_path / f"session_{name}" / cluster.OWNER).write_text(str(pid))
    (tmp_path / "session_0").mkdir()  # somebody else's
    (tmp_path / "session_latest").symlink_to(tmp_path / "session_1")
    (tmp_path / "session_6").mkdir()
    cluster.forget_sessions(tmp_path / "session_6")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [*[f"session_{n}" for n in (0, 2, 3, 4, 5, 6)], "session_latest"]
    assert (tmp_path / "session_6" / cluster.OWNER).read_text() == str(os.getpid())


def test_the_folder_of_a_ray_that_is_started_is_noted_as_of_this_process(ray_cluster):
    assert ray_cluster
    folder = Path(ray._private.worker.global_worker.node.get_session_dir_path())
    assert (folder / cluster.OWNER).read_text() == str(os.getpid())


@pytest.mark.slow
@pytest.mark.ray
def test_ray_starts_with_a_long_temporary_folder(tmp_path):
    long = tmp_path / ("of_a_batch_system_" * 4)
    long.mkdir()
    code = (
        "from orchestrator.place.cluster import connected\n"
        "from orchestrator.place.resources import Machine\n"
        "with connected(Machine(1, 0)) as machines: print(machines)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"TMPDIR": str(long)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[Machine(cpus=1.0, gpus=0.0, kind='')]\n"
    assert "Ray works in /tmp/ray instead" in done.stderr
    assert list(long.glob("ray*")) == []


def test_another_process_joins_the_ray_of_a_search_on_this_machine(ray_cluster):
    """It listens on loopback alone, where Ray by itself looks for an address of a network."""
    code = (
        "from orchestrator.place.cluster import connected\n"
        "from orchestrator.place.resources import Machine\n"
        "with connected(Machine(1, 0)) as machines: print(machines)"
    )
    joining = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=joining, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(ray_cluster)), done.stderr


AFTERWARDS = """
import os, signal
from orchestrator.place.cluster import connected
from orchestrator.place.interruption import Interruption
from orchestrator.place.resources import Machine
with Interruption():
    try:
        with connected(Machine(cpus=1, gpus=0)):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        print("a wish to stop")
"""


@pytest.mark.slow
@pytest.mark.ray
def test_sigterm_is_still_a_wish_to_stop_when_ray_has_ended():
    done = subprocess.run(
        [sys.executable, "-c", AFTERWARDS],
        cwd=Path(__file__).parents[3],
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "a wish to stop\n"), done.stderr
