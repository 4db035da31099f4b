"""`python -m orchestrator.preflight space=dbnetpp data.root=…`: can this search run here?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from detector.config.answer import answer
from detector.config.cli import log, run_with_arguments
from detector.core.files import require_writable
from orchestrator.machines.ask import Answer, require_alike, sides
from orchestrator.place.cluster import connected
from orchestrator.place.preflight import require_ready
from orchestrator.place.resources import this_machine
from orchestrator.place.share import has_gpu
from orchestrator.run.command_line import SearchArguments, parse_arguments
from orchestrator.run.trial_data import check_data, with_data
from orchestrator.search import new_space


def main(arguments: Sequence[str]) -> int:
    """Check what a search with these arguments needs, on all machines, and start no trial.

    InputError with every fault; warnings are logged, and a table says what was found.
    """
    config, overrides = parse_arguments(arguments)
    space = new_space(config, overrides, gpu=has_gpu(config))
    require_writable("runs_dir", config.runs_dir, folder=True)
    require_ready()
    if not space.demo:
        config, space = with_data(config, space)
        check_data(space)
    with connected(this_machine()):
        answers = require_alike(*sides(config, space))
    answer({"machines": {each.name: asdict(each.machine) for each in answers if each.machine}})
    Console().print(table(answers))
    log("ready: a search with these arguments can start")
    return 0


def table(answers: Sequence[Answer]) -> Table:
    """One line for each machine."""
    found = Table(box=None, pad_edge=False)
    for column in ("machine", "Python", "Ray", "torch", "GPUs", "least free", "/dev/shm", "files"):
        found.add_column(column)
    for each in answers:
        machine = each.machine
        assert machine is not None  # else it is a fault
        least = min((disk.free for disk in machine.disks), default=None)
        versions = [machine.versions.get(name, "") for name in ("python", "ray", "torch")]
        found.add_row(
            each.name,
            *versions,
            str(machine.gpus),
            _gib(least),
            _gib(machine.shared_memory),
            "" if machine.files is None else str(machine.files.count),
        )
    return found


def _gib(count: int | None) -> str:
    return "" if count is None else f"{count / 2**30:.1f} GiB"


if __name__ == "__main__":
    run_with_arguments(
        main,
        SearchArguments,
        program="python -m orchestrator.preflight",
        description="Check what a search with the same arguments needs before it starts: this "
        "machine, the data, and on a cluster (RAY_ADDRESS) every machine's versions, GPUs, "
        "disks, shared memory, run folder or bucket, data and clock. A search on several "
        "machines does this first by itself.",
    )
