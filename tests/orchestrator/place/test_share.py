"""Trials that share a GPU: chosen from given numbers, and placed by a real Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from detector.config.settings import TrainConfig
from detector.core.errors import InputError, JobError
from detector.training.step_cost import StepCost
from orchestrator.place import share
from orchestrator.place.cost import largest
from orchestrator.place.gpu_kinds import Kind
from orchestrator.place.resources import GpuKind, Machine, TrialResources, allot, packed
from orchestrator.place.share import sharing
from orchestrator.run.command_line import parse_arguments
from orchestrator.space.search_space import SearchSpace, load_space

GB = 10**9
SPACE = """\
parameters:
  model.backbone: {choice: [mobilenetv3_small_050, resnet18]}
  train.batch_size: {choice: [2, 4]}
budget: {trials: 12, epochs: 5, grace_epochs: 1, reduction_factor: 2}
"""


@pytest.fixture
def space(tmp_path: Path) -> SearchSpace:
    (tmp_path / "s.yaml").write_text(SPACE)
    return load_space(str(tmp_path / "s.yaml"), gpu=True, overrides={"data.root": str(tmp_path)})


EACH = {"mobilenetv3_small_050": GB, "resnet18": 2 * GB}
FACTORS = {"mobilenetv3_small_050": 1.2, "resnet18": 1.3}


def taken(config: TrainConfig) -> int:
    return EACH[config.model.backbone] * config.train.batch_size // 2


def sizes(space, **_):
    """What a step of the largest trainings would take of a GPU of 24 GB."""
    configs = {name: largest(space, name, taken) for name in EACH}
    return {
        name: StepCost(0.1, taken(config), 24 * GB, FACTORS[name])
        for name, config in configs.items()
    }


@pytest.fixture
def chosen(space: SearchSpace, monkeypatch):
    """The share that a machine's trials get, by steps that would be measured on it."""

    def chosen(machine: Machine, *arguments: str, measured=sizes) -> TrialResources:
        monkeypatch.setattr(share, "this_machine", lambda: machine)
        monkeypatch.setattr(share, "measured_largest", measured)
        config, _ = parse_arguments(["space=s", "resources.gpu=auto", *arguments])
        return share.packed_share(config, space, TrialResources(1, 1, 1))

    return chosen


def test_the_largest_trial_decides(chosen, capsys):
    # resnet18 with batches of 4 takes 4 GB; 21.6 GB hold five.
    assert chosen(Machine(16, 1)) == TrialResources(3, 0.2, 5, FACTORS)
    assert capsys.readouterr().err == (
        "resources.gpu=auto: the largest trial takes 4.0 of 24.0 GB, so a trial gets 0.2 GPU\n"
    )


@pytest.mark.parametrize(
    ("machine", "wishes", "share"),
    [
        (Machine(16, 4), [], 0.3333),  # twelve trials on four GPUs
        (Machine(3, 1), [], 0.3333),
        (Machine(8, 1), ["resources.cpus_per_trial=4"], 0.5),
        (Machine(16, 2), ["budget.concurrent=3"], 0.5),
        (Machine(1, 2), [], 1.0),
    ],
)
def test_cores_and_trials_limit_how_many_share(chosen, machine, wishes, share):
    assert chosen(machine, *wishes).gpus == share


def test_without_a_measurement_a_trial_has_a_gpu_for_itself(chosen, capsys):
    def killed(_space, **_):
        raise JobError("killed")

    assert chosen(Machine(16, 1), measured=killed).gpus == 1.0
    said = "resources.gpu=auto: a trial gets a whole GPU, as no step was measured: killed\n"
    assert capsys.readouterr().err == said


def test_how_many_share_a_gpu():
    assert sharing(TrialResources(1, 0.25, 8)) == 4
    assert sharing(TrialResources(1, 0.3333, None)) == 3
    assert sharing(TrialResources(1, 0.25, 2)) == 2
    assert [sharing(TrialResources(1, gpus, 4)) for gpus in (0, 1, 2)] == [1, 1, 1]


def test_the_search_asks_for_the_share_that_was_measured(space: SearchSpace, monkeypatch):
    monkeypatch.setattr(share, "this_machine", lambda: Machine(16, 1))
    monkeypatch.setattr(share, "measured_largest", sizes)
    monkeypatch.setattr(share, "measured_apart", lambda *_, **__: [StepCost(0.1)] * 2)
    config, _ = parse_arguments(["space=s", "resources.gpu=auto"])
    local = share.share(config, space)
    assert local == TrialResources(16, 1, 1)
    chosen = share.packed_share(config, space, local)
    assert chosen == TrialResources(3, 0.2, 5, FACTORS)
    assert "5 at once, 5 on a GPU" in share.cost_line(space, 10, chosen)
    whole, _ = parse_arguments(["space=s"])
    assert share.packed_share(whole, space, local) is local


def test_only_gpus_are_measured_and_those_of_a_cluster_once_it_is_joined(space: SearchSpace):
    config, _ = parse_arguments(["space=s", "resources.gpu=auto"])
    assert share.packed_share(config, space, None) is None
    on_cpu = TrialResources(1, 0, 2)
    assert share.packed_share(config, space, on_cpu) is on_cpu


@pytest.mark.parametrize(
    ("fixed", "gpus", "message"),
    [
        ({"train.processes": 2}, "1", r"^train.processes: 2 .* gets 1; .*gpus_per_trial=2 as well"),
        ({"train.processes": 2}, "0.5", r"^train.processes: 2 processes need a GPU each"),
        ({"train.compile": True}, "2", r"^train.compile: true is for one process, .* gets 2 GPUs"),
        ({"train.processes": 2}, "2", None),
        ({"train.processes": 1, "train.compile": True}, "2", None),
        ({"train.processes": 2, "train.device": "cpu"}, "1", None),
        ({"train.processes": 2}, "0", None),
    ],
)
def test_processes_and_gpus_of_a_trial_must_agree(space, monkeypatch, fixed, gpus, message):
    monkeypatch.setattr(share, "this_machine", lambda: Machine(8, 4))
    config, _ = parse_arguments(["space=s", f"resources.gpus_per_trial={gpus}"])
    if message is None:
        assert share.share(config, space.with_fixed(fixed)).gpus == float(gpus)
    else:
        with pytest.raises(InputError, match=message):
            share.share(config, space.with_fixed(fixed))


MACHINES = [Machine(8, 0), Machine(16, 2, "T4"), Machine(32, 1, "H100")]


def on_cluster(space: SearchSpace, kinds, *arguments: str) -> TrialResources:
    config, _ = parse_arguments(["space=s", *arguments])
    return share.cluster_share(config, space, MACHINES, lambda *_, **__: kinds)


def test_on_a_cluster_each_kind_of_gpu_has_its_share(space: SearchSpace, capsys):
    small = {"resnet18": StepCost(0.4, 4 * GB, 16 * GB, 1.2)}
    large = {"resnet18": StepCost(0.1, 5 * GB, 80 * GB, 1.4)}
    got = on_cluster(space, [Kind("H100", large), Kind("T4", small)], "resources.gpu=auto")
    # 14.4 GB hold three trials of 4 GB; twelve trials on three GPUs would be four.
    kinds = {
        "H100": GpuKind(80 * GB, 0.25, pytest.approx(0.1)),
        "T4": GpuKind(16 * GB, 0.3333, pytest.approx(0.4)),
    }
    assert got == TrialResources(2, 0.3333, None, {"resnet18": 1.4}, kinds)
    assert capsys.readouterr().err == (
        "resources.gpu=auto: on H100 the largest trial takes 5.0 of 80.0 GB\n"
        "resources.gpu=auto: on T4 the largest trial takes 4.0 of 16.0 GB\n"
        "resources.gpu=auto: a trial gets 0.25 H100 GPU, 0.3333 T4 GPU\n"
    )


def test_cores_are_shared_evenly_on_the_machine_that_has_least_for_each_trial(space: SearchSpace):
    step = {"resnet18": StepCost(0.1, 4 * GB, 80 * GB, 1.0)}
    whole = {"resnet18": StepCost(0.1, 4 * GB, 5 * GB, 1.0)}
    kinds = [Kind("H100", step), Kind("T4", whole)]
    # A T4 holds one trial, an H100 four: 8 cores each on the machine with two T4, and on the other.
    got = on_cluster(space, kinds, "resources.gpu=auto")
    assert (got.cpus, got.gpus) == (8, 1.0)
    got = on_cluster(space, kinds, "resources.gpu=auto", "resources.cpus_per_trial=3")
    assert got.cpus == 3


def test_on_a_cluster_nothing_is_measured_that_nobody_asked_for(space: SearchSpace, capsys):
    assert on_cluster(space, None) == TrialResources(8, 1, None)
    assert on_cluster(space, None, "resources.gpus_per_trial=0.5").gpus == 0.5
    assert on_cluster(space, [], "resources.gpu=auto") == TrialResources(8, 1, None)
    assert capsys.readouterr().err.endswith("a whole GPU, as no step was measured\n")


def drive_shares(path: str) -> None:
    """How many tasks of each share run at once on a machine with eight cores and one GPU."""

    @ray.remote(num_cpus=0)
    class Meeting:
        def __init__(self):
            self.here, self.most = 0, 0

        def come(self):
            self.here += 1
            self.most = max(self.most, self.here)

        def go(self):
            self.here -= 1

        def found(self):
            return self.most

    @ray.remote(num_cpus=0, max_retries=0)
    def trial(meeting, expected):
        import time

        ray.get(meeting.come.remote())
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and ray.get(meeting.found.remote()) < expected:
            time.sleep(0.05)
        time.sleep(0.3)  # one too many would come now
        ray.get(meeting.go.remote())

    ray.init("local", num_cpus=8, num_gpus=1, log_to_driver=False, logging_level=50)
    found = {}
    for count in (4, 6):
        share = packed(GB, 24 * GB, cores=count, trials=16)
        meeting = Meeting.remote()
        ray.get([trial.options(num_gpus=share).remote(meeting, count) for _ in range(count + 2)])
        found[str(count)] = ray.get(meeting.found.remote())
    Path(path).write_text(json.dumps(found))


@pytest.mark.slow
@pytest.mark.ray
def test_ray_runs_as_many_at_once_as_share_a_gpu(tmp_path):
    code = f"import runpy; runpy.run_path({__file__!r})['drive_shares']({str(tmp_path / 'n')!r})"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True)
    assert json.loads((tmp_path / "n").read_text()) == {"4": 4, "6": 6}
    assert allot([Machine(8, 1)], trials=16, gpus_per_trial=0.1666).concurrent == 6
