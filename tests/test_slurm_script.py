"""`clusters/slurm.sbatch`: what it says to Slurm, and what it does, with one machine and no Slurm.

In place of Slurm's commands stand scripts that start, end and note; Ray and the search are real.
`tests/cluster/test_slurm.py` runs it on a Slurm.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.run.command_line import parse_arguments
from orchestrator.run.study import stored_study
from orchestrator.store.storage import storage_url

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "clusters" / "slurm.sbatch"
TEXT = SCRIPT.read_text(encoding="utf-8")
STAND_INS = {
    # A step is here: its command begins at `bash`, and ends when `scancel` says so.
    "srun": """\
for word in "$@"; do case $word in --output=*) exec >"${word#--output=}" 2>&1 ;; esac; done
while [ "$1" != bash ]; do shift; done
echo $$ >>"$STEPS"
exec "$@"
""",
    "scancel": 'xargs kill -TERM <"$STEPS"; rm "$STEPS"\n',
    "squeue": 'cat "$STATE"\n',
    "scontrol": 'echo "scontrol $*"\n',
}
SPACE = """\
description: a space for a test
fixed:
  data.longest_side_px: 128
  augment.crop_px: 64
  model.backbone: mobilenetv3_small_050
  model.weights: none
  model.neck_channels: 16
  train.batch_size: 2
parameters:
  optimizer.lr: {choice: [0.001, 0.002]}
budget: {trials: 2, epochs: 12, grace_epochs: 12, reduction_factor: 2}
"""
SEARCH = ("space=space.yaml", "name=first", "data.root=pages", "runs_dir=kept")
SMALL = ("resources.gpus_per_trial=0", "resources.cpus_per_trial=1", "budget.concurrent=1")


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder with a short path."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def job(tmp_path, sockets, monkeypatch):
    """`job(*arguments)`: the script as the batch script of a job of one machine and one core."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in STAND_INS.items():
        path = commands / name
        path.write_text(f"#!/bin/bash\n{text}")
        path.chmod(0o755)
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "state").write_text("RUNNING\n")
    python = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{python}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "that of another cluster")
    monkeypatch.setenv("RAY_TMPDIR", str(sockets))
    values = {"JOB_ID": "7", "JOB_NUM_NODES": "1", "CPUS_ON_NODE": "1"}
    for name, value in values.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    monkeypatch.setenv("STEPS", str(tmp_path / "steps"))
    monkeypatch.setenv("STATE", str(tmp_path / "state"))
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                ["bash", str(SCRIPT), *arguments],
                cwd=tmp_path,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def ended(process: subprocess.Popen[str], folder: Path) -> tuple[int, str]:
    """Exit code and log of a job that ends by itself."""
    return process.wait(timeout=300), (folder / "log").read_text()


def epochs(folder: Path) -> list[int]:
    """The epochs of the trials that there are."""
    if not any(folder.glob("trials/*/log.txt")):  # the study is whole by then
        return []
    return [r.epochs for r in stored_study(storage_url(folder, None), folder.name).records()]


def directives() -> dict[str, str]:
    """What the #SBATCH lines say, by option."""
    lines = re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", TEXT, re.MULTILINE)
    return dict(lines)


def test_bash_reads_it_and_a_checker_has_nothing_to_say():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck missing: see tests/cluster/install.sh")
    # 2317: functions that run in steps look unreachable.
    subprocess.run(["shellcheck", "--exclude=SC2317", str(SCRIPT)], check=True)


def test_slurm_is_asked_to_signal_the_script_and_to_requeue_the_job():
    found = directives()
    assert found["signal"] == "B:USR1@120"
    assert found["requeue"] == ""
    assert found["open-mode"] == "append"
    assert found["ntasks-per-node"] == "1"
    assert "exclusive" not in found  # jobs may share a machine
    first_command = re.search(r"^[^#\n]", TEXT, re.MULTILINE)
    assert first_command is not None
    assert TEXT.rindex("#SBATCH ") < first_command.start()  # Slurm reads no further


def test_no_port_is_fixed_and_no_ray_of_others_is_ended():
    code = "\n".join(line for line in TEXT.splitlines() if not line.lstrip().startswith("#"))
    ports = re.findall(r"--((?:[\w-]+-)?port)=(\S+)", code)
    assert {name for name, _ in ports} == {
        *("port", "min-worker-port", "max-worker-port"),
        *("dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port"),
    }
    assert all(value in ("0", '"$(free_port)"') for _, value in ports)
    assert "ray stop" not in code


def test_the_search_command_in_the_comments_is_understood():
    (line,) = re.findall(r"^#   sbatch clusters/slurm\.sbatch (.*)$", TEXT, re.MULTILINE)
    config, overrides = parse_arguments(shlex.split(line))
    assert (config.space, config.name) == ("dbnetpp", "first")
    assert overrides == {"data.root": "/shared/receipts"}


@pytest.mark.parametrize("word", ["budget.trials=+5", "budget.more=5"])
def test_what_would_add_trials_at_each_start_is_refused(job, word, tmp_path):
    code, said = ended(job(*SEARCH, word), tmp_path)
    assert code == 2
    assert f"job 7: {word} would add trials at each start of the job; give their whole" in said
    assert list(tmp_path.glob(".ray-*")) == []


@pytest.mark.slow
@pytest.mark.ray
def test_a_job_whose_time_is_over_asks_for_the_queue_and_goes_on(
    job, make_dataset, tmp_path, sockets, wait_for
):
    pages = make_dataset(tmp_path / "pages")
    make_dataset(pages, split="val", pages=2)
    folder = tmp_path / "kept" / "first"

    process = job(*SEARCH, *SMALL)
    wait_for(
        lambda: 2 <= sum(epochs(folder)) < 20,
        "a trial on its way",
        while_=lambda: process.poll() is None,
        told=lambda: (tmp_path / "log").read_text(),
    )
    token = tmp_path / ".ray-7" / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    process.send_signal(signal.SIGUSR1)
    code, said = ended(process, tmp_path)
    assert code == 130, said
    assert said.count("name=first \n") == 1
    assert "interrupted; every finished epoch is saved." in said
    assert "job 7: goes back into the queue\nscontrol requeue 7\n" in said
    assert [*tmp_path.glob(".ray-*"), *sockets.iterdir()] == []

    again = job(*SEARCH, *SMALL, "resume=true")  # which the script decides
    code, said = ended(again, tmp_path)
    assert code == 0, said
    assert said.count("name=first resume=true\n") == 1
    assert epochs(folder) == [12, 12]


@pytest.mark.slow
@pytest.mark.ray
def test_a_job_that_is_cancelled_does_not_come_back_and_one_without_a_name_has_its_number(
    job, make_dataset, tmp_path, sockets, wait_for
):
    pages = make_dataset(tmp_path / "pages")
    make_dataset(pages, split="val", pages=2)
    process = job("space=space.yaml", "data.root=pages", *SMALL)
    wait_for(
        lambda: epochs(tmp_path / "runs" / "slurm-7"),
        "a trial",
        while_=lambda: process.poll() is None,
        told=lambda: (tmp_path / "log").read_text(),
    )
    (tmp_path / "state").write_text("COMPLETING\n")
    process.terminate()
    code, said = ended(process, tmp_path)
    assert code == 130, said
    assert "queue" not in said
    assert [*tmp_path.glob(".ray-*"), *sockets.iterdir()] == []
