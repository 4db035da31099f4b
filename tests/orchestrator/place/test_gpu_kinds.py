"""Kinds of GPU by given numbers, and on a cluster whose GPUs are on paper."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import JobError
from detector.training.step_cost import CONTEXT_BYTES, StepCost
from orchestrator.place.gpu_kinds import Kind, holding_kinds, measured_kinds, selector
from orchestrator.place.resources import LABEL, GpuKind, TrialResources

GB = 10**9


@pytest.mark.parametrize(
    ("wanted", "selected"),
    [
        (["A100", "H100", "T4"], {}),
        (["A100", "H100"], {LABEL: "in(A100,H100)"}),
        (["T4"], {LABEL: "in(T4)"}),
    ],
)
def test_a_selector_names_the_kinds(wanted, selected):
    assert selector(wanted, ["A100", "H100", "T4"]) == selected


def test_machines_without_a_name_are_those_that_are_none_of_the_others():
    assert selector([""], ["", "A100", "T4"]) == {LABEL: "!in(A100,T4)"}
    assert selector(["", "T4"], ["", "A100", "T4"]) == {LABEL: "!in(A100)"}
    assert selector([""], [""]) == {}


def kinds(share: float = 1.0, **gigabytes: int) -> dict[str, GpuKind]:
    return {name: GpuKind(size * GB, share) for name, size in gigabytes.items()}


GPUS = {"A100": 40, "H100": 80, "T4": 16}
ALL = sorted(GPUS)
RESNET = with_values(TrainConfig(), {"model.backbone": "resnet18"})


@pytest.mark.parametrize(
    ("taken", "gpus", "held"),
    [
        (10 * GB, 1.0, ALL),  # 13 GB and the context are anywhere
        (20 * GB, 1.0, ["A100", "H100"]),
        (40 * GB, 1.0, ["H100"]),
        (40 * GB, 2.0, ["H100"]),  # each GPU has the whole network
        (90 * GB, 1.0, ALL),  # nowhere as a whole
        (10 * GB, 0.5, ["A100", "H100"]),
    ],
)
def test_a_trial_goes_where_it_fits(taken, gpus, held):
    resources = TrialResources(1, gpus, None, {"resnet18": 1.3}, kinds(gpus, **GPUS))
    assert holding_kinds(RESNET, resources, lambda _: taken) == held


def test_the_share_of_each_kind_counts():
    shared = kinds(0.25, H100=80) | kinds(T4=16)
    resources = TrialResources(1, 1.0, None, {"resnet18": 1.0}, shared)
    assert holding_kinds(RESNET, resources, lambda _: 14 * GB) == ["H100", "T4"]
    assert holding_kinds(RESNET, resources, lambda _: 17 * GB) == ["H100"]
    shared = kinds(0.1, H100=80) | kinds(T4=16)
    resources = TrialResources(1, 1.0, None, {"resnet18": 1.0}, shared)
    assert holding_kinds(RESNET, resources, lambda _: 14 * GB) == ["T4"]


def test_what_is_measured_decides_to_the_byte():
    resources = TrialResources(1, 1.0, None, {"resnet18": 1.0}, kinds(a=16, b=8))
    assert holding_kinds(RESNET, resources, lambda _: 8 * GB - CONTEXT_BYTES) == ["a", "b"]
    assert holding_kinds(RESNET, resources, lambda _: 8 * GB - CONTEXT_BYTES + 1) == ["a"]


def test_a_step_that_cannot_be_counted_goes_anywhere():
    def uncounted(_):
        raise JobError("no")

    resources = TrialResources(1, 1.0, None, {}, kinds(**GPUS))
    assert holding_kinds(RESNET, resources, uncounted) == ALL
    assert holding_kinds(RESNET, TrialResources(1, 1.0, None, {}, kinds(T4=1)), uncounted) == ["T4"]


def test_the_largest_trial_and_the_least_memory_of_a_kind_count():
    kind = Kind("T4", {"a": StepCost(0.1, 3, 15), "b": StepCost(0.1, 5, 14)})
    assert (kind.trial_bytes, kind.gpu_bytes) == (5, 14)


def test_the_speed_of_a_kind_is_the_geometric_mean_over_networks():
    kind = Kind("T4", {"a": StepCost(0.1, 3, 15), "b": StepCost(0.4, 5, 14)})
    assert kind.seconds == pytest.approx(0.2)


def drive(folder: str) -> None:
    """A cluster with a small and a large GPU, one without a name, and one that breaks."""
    import ray
    from ray.cluster_utils import Cluster
    from sessions import make_run, session_of

    from orchestrator.execute.tuner import run_search
    from orchestrator.place.resources import GpuKind
    from orchestrator.space.parameters import Budget, Parameter
    from orchestrator.space.search_space import SearchSpace

    label, gb = LABEL, GB  # for workers, which need not find this file

    def measure(space, _):
        from detector.core.errors import JobError
        from detector.training.step_cost import StepCost

        name = ray.get_runtime_context().get_node_labels().get(label)
        if name == "broken":
            raise JobError(f"{space.name}: no step")
        there = {"small": 2 * gb, "large": 80 * gb}.get(name, 24 * gb)
        return {"mobilenetv3_small_050": StepCost(0.1, gb, there, 1.1)}

    def trial(job, report):
        where = ray.get_runtime_context().get_node_labels().get(label, "")
        with Path(folder, "where.txt").open("a") as file:
            print(job.params["train.batch_size"], job.until, where, file=file)
        if job.until == 1:  # all that can begin at once do
            end = time.monotonic() + 60
            while len(Path(folder, "where.txt").read_text().splitlines()) < 3:
                assert time.monotonic() < end
                time.sleep(0.1)
        score = 0.5 + 0.1 * (job.params["train.batch_size"] == 2)
        report({"epoch": job.until, "best_hmean": score, "finished": job.until == 2})

    batch = "train.batch_size"
    space = SearchSpace(
        name="test",
        description="",
        fixed={"model.backbone": "mobilenetv3_small_050", "model.weights": "none"},
        parameters={batch: Parameter(batch, "choice", (1, 2, 48, 64))},
        warm_start=({batch: 64}, {batch: 48}, {batch: 1}, {batch: 2}),
        budget=Budget(trials=4, epochs=2, grace_epochs=1, reduction_factor=5),  # 1 in 4
    )
    small = {"object_store_memory": 80_000_000}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **small}
    )
    for name in ("small", "large", "broken", None):
        labels = {LABEL: name} if name else {}
        cluster.add_node(num_cpus=1, num_gpus=1, labels=labels, **small)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=50)
    found = {kind.name: kind for kind in measured_kinds(space, cpus=1, measure=measure)}
    own = {k: GpuKind(found[k].gpu_bytes, 1.0, found[k].seconds) for k in ("small", "large")}
    run = make_run(Path(folder), space)
    run_search(replace(session_of(run, trial), resources=TrialResources(1, 1.0, None, {}, own)))
    known = {name: kind.gpu_bytes for name, kind in found.items()}
    Path(folder, "kinds.json").write_text(json.dumps(known))


@pytest.mark.slow
@pytest.mark.ray
def test_each_kind_is_measured_and_a_trial_goes_where_it_fits(tmp_path):
    code = f"import runpy; runpy.run_path({__file__!r})['drive']({str(tmp_path)!r})"
    root = Path(__file__).parents[3]
    paths = [str(root), str(root / "tests" / "support")]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "kinds.json").read_text()) == {
        "": 24 * GB,
        "large": 80 * GB,
        "small": 2 * GB,
    }
    said = "resources.gpu=auto: nothing was measured on broken: "
    assert said in done.stderr
    assert "test: no step" in done.stderr
    where = [line.split() for line in (tmp_path / "where.txt").read_text().splitlines()]
    begun = {size: kind for size, until, *kind in where if until == "1"}
    assert begun["64"] == begun["48"] == ["large"]
    assert begun["1"] != begun["2"]
    assert ["large"] not in (begun["1"], begun["2"])
    # The second large one waited, and small ones behind it began beside the first.
    assert [size for size, *_ in where[:3]].count("48") == 0
    assert where[3][0] == "48"
    assert where[-1][:2] == ["2", "2"]
