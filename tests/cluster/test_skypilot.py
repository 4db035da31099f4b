"""The task for SkyPilot: its own parser accepts it, and its `run` does what it promises.

SKYPILOT_PYTHON names a Python with `skypilot`, if that is not the Python of the tests.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from orchestrator.run.command_line import parse_arguments
from orchestrator.store.bucket import Bucket
from orchestrator.store.mirror import Mirror

ROOT = Path(__file__).parents[2]
PATH = ROOT / "clusters" / "skypilot.yaml"
TASK = yaml.safe_load(PATH.read_text(encoding="utf-8"))
PYTHON = os.environ.get("SKYPILOT_PYTHON", sys.executable)
PARSED = """
import json, sys
import sky
from sky.utils import registry

task = sky.Task.from_yaml(sys.argv[1])
print(json.dumps({
    "kinds": sorted(next(iter(each.accelerators)) for each in task.resources),
    "spot": all(each.use_spot for each in task.resources),
    "recovery": [each.job_recovery["strategy"].lower() for each in task.resources],
    "known": [name.lower() for name in registry.JOBS_RECOVERY_STRATEGY_REGISTRY],
    "nodes": task.num_nodes, "run": task.run, "setup": task.setup, "envs": task.envs,
}))
"""


def parsed(path: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """What SkyPilot makes of a task, with its files in a home of its own."""
    return subprocess.run(
        [PYTHON, "-c", PARSED, str(path)],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_skypilots_own_parser_accepts_it(tmp_path):
    there = subprocess.run(
        [PYTHON, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('sky') is None)"],
        check=False,
    )
    if there.returncode:
        pytest.skip("SKYPILOT_PYTHON: `pip install skypilot` in a venv, and name its Python")
    done = parsed(PATH, tmp_path)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    assert (made["kinds"], made["spot"], made["nodes"]) == (["A10G", "L4"], True, 1)
    assert set(made["recovery"]) <= set(made["known"])
    assert (made["run"], made["setup"]) == (TASK["run"], TASK["setup"])
    assert made["envs"] == TASK["envs"]

    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump(TASK | {"setupp": "true"}))
    done = parsed(wrong, tmp_path)
    assert done.returncode != 0
    assert "setupp" in done.stderr


@pytest.mark.parametrize("section", ["setup", "run"])
def test_its_sections_are_bash(section):
    done = subprocess.run(["bash", "-n", "-c", TASK[section]], capture_output=True, check=False)
    assert done.stderr == b""


def test_its_search_is_understood_and_kept_in_the_bucket():
    _, _, line = TASK["run"].replace("\\\n", "").partition("-m orchestrator.search ")
    words = shlex.split(re.sub(r"\$(\w+)", lambda found: TASK["envs"][found[1]], line))
    config, _ = parse_arguments(words)
    assert (config.space, config.name, config.resume) == ("dbnetpp", "first", "auto")
    assert (config.bucket, config.data_from) == (TASK["envs"]["RUNS"], TASK["envs"]["DATA"])


def test_its_setup_installs_this_folder_as_it_was_tested():
    assert TASK["workdir"] == "."
    assert "~/receipts-venv/bin/pip install -q -c requirements/constraints.txt ." in TASK["setup"]
    assert "~/receipts-venv/bin/python -m orchestrator.search" in TASK["run"]


@pytest.mark.faults
def test_its_run_goes_on_on_another_machine(
    bucket_url, search, receipts, start, states, wait_for, tmp_path
):
    runs, data = Bucket(bucket_url), Bucket(bucket_url).below("receipts")
    Mirror(receipts, data).push()
    log = tmp_path / "log.txt"

    def machine(number: int) -> subprocess.Popen[bytes]:
        """`run` as it stands on a machine of its own: another home and working folder."""
        home = tmp_path / f"machine{number}"
        (home / "sky_workdir").mkdir(parents=True)
        (home / "receipts-venv").symlink_to(sys.prefix)
        given = {"SEARCH": search, "NAME": "first", "DATA": data.url, "RUNS": runs.url}
        given |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
        command = ["bash", "-c", TASK["run"]]
        return start(command, cwd=home / "sky_workdir", log=log, **given)

    first = machine(1)
    run = runs.below("first")
    wait_for(
        lambda: any(name.endswith("last.safetensors") for name in run.files()),
        "a trial's first epoch in the bucket",
        while_=lambda: first.poll() is None,
        told=log.read_text,
    )
    os.killpg(first.pid, signal.SIGKILL)  # a spot machine that is taken away
    first.wait()
    begun = run.files().keys()

    assert machine(2).wait() == 0, log.read_text()
    assert "first: copied from s3://" in log.read_text()
    assert states(tmp_path / "machine2" / "sky_workdir" / "runs" / "first") == ["finished"] * 3
    trials = {name.split("/")[1] for name in run.files() if name.startswith("trials/")}
    assert len(trials) == 3
    assert {name.split("/")[1] for name in begun if name.startswith("trials/")} <= trials
