"""Every machine of the running cluster looked at from itself, before the first trial."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from detector.config.cli import log
from detector.core.errors import InputError, JobError
from orchestrator.config.settings import SearchConfig
from orchestrator.machines.exchange import Exchange, InBucket, InFolder
from orchestrator.machines.look import files_in, look, own_versions
from orchestrator.machines.rules import Answer, Own, findings
from orchestrator.space.search_space import SearchSpace
from orchestrator.store.bucket import Bucket

PATIENCE_S = 30.0


def require_alike(own: Own, exchange: Exchange, *, patience_s: float = PATIENCE_S) -> list[Answer]:
    """Look at all machines that trials may run on; warnings are logged, the answers returned.

    Ray must be running. InputError with every fault, a line each.
    """
    answers = ask(exchange, own.data, patience_s=patience_s)
    found = [finding for answer in answers for finding in findings(answer, own)]
    for warning in (finding for finding in found if not finding.fault):
        log(f"warning: {warning}")
    if faults := [finding for finding in found if finding.fault]:
        raise InputError("\n".join(map(str, faults)))
    return answers


def sides(config: SearchConfig, space: SearchSpace) -> tuple[Own, Exchange]:
    """The machine of the search as others are compared with it, and where they answer.

    Data that each machine copies from a bucket are not compared, nor those that are yet to be made.
    """
    root = None if config.data_from else space.fixed.get("data.root")
    data = Path(root) if root and Path(root).is_dir() else None
    runs = config.runs_dir.absolute()
    exchange = InBucket(Bucket(config.bucket)) if config.bucket else InFolder(runs)
    own = Own(
        versions=own_versions(),
        files=None if data is None else files_in(data),
        data=data,
        place=config.bucket or str(runs),
        loaders=space.fixed.get("data.workers", "auto") != 0,
    )
    return own, exchange


def ask(exchange: Exchange, data: Path | None, *, patience_s: float) -> list[Answer]:
    """What each machine says, or why it does not within `patience_s`.

    JobError when the search itself cannot write to the exchange.
    """
    nodes = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) > 0]
    names = machine_names(nodes)
    try:
        exchange.ask()
        return _answers(nodes, names, exchange, data, patience_s)
    except OSError as error:
        raise JobError(f"{error.filename}: {error.strerror}; check the disk") from None
    finally:
        exchange.end()


def _answers(
    nodes: list[dict[str, Any]],
    names: Mapping[str, str],
    exchange: Exchange,
    data: Path | None,
    patience_s: float,
) -> list[Answer]:
    task, asked = ray.remote(num_cpus=0, max_retries=0)(look), time.time()
    begun = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ref = task.options(scheduling_strategy=there).remote(node["NodeID"], exchange, data)
        begun[ref] = node
    waiting, end, found = list(begun), time.monotonic() + patience_s, []
    while waiting:
        left = max(end - time.monotonic(), 0.0)
        done, waiting = ray.wait(waiting, num_returns=1, timeout=left)
        received = time.time()
        if not done:
            break
        found.append(_answer(done[0], begun[done[0]], names, exchange, (asked, received)))
    for ref in waiting:
        ray.cancel(ref, force=True)
        name = names[begun[ref]["NodeID"]]
        reason = f"no answer within {patience_s:g} s; see whether it is alive, and its load"
        found.append(Answer(name, None, reason, 0.0, False, asked, time.time()))
    return sorted(found, key=lambda answer: answer.name)


def _answer(
    ref: Any,
    node: Mapping[str, Any],
    names: Mapping[str, str],
    exchange: Exchange,
    between: tuple[float, float],
) -> Answer:
    told, name = node["Resources"].get("GPU", 0.0), names[node["NodeID"]]
    try:
        machine = ray.get(ref)
    except Exception as error:  # whatever went wrong there, it is that machine that is named
        line = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        reason = f"could not look at itself ({line}); install this program there as here"
        return Answer(name, None, reason, told, False, *between)
    return Answer(name, machine, "", told, exchange.heard(node["NodeID"]), *between)


def machine_names(nodes: list[dict[str, Any]]) -> dict[str, str]:
    """Names to show by node id: the address, with the beginning of the id where it is not alone."""
    count = Counter(node["NodeManagerAddress"] for node in nodes)
    return {
        node["NodeID"]: node["NodeManagerAddress"]
        if count[node["NodeManagerAddress"]] == 1
        else f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})"
        for node in nodes
    }
