"""Room for trials on a cluster: what is waited for is said, and all that could run is asked for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from uuid import uuid4

import ray
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

from detector.cli import log
from detector.errors import InputError
from orchestrator.place.autoscaler import can_grow
from orchestrator.place.cluster import machines
from orchestrator.place.resources import Machine, TrialResources, amount, fits, too_much
from orchestrator.trials.job import Listener

PATIENCE_S = 10.0  # for machines that are joining, and for an autoscaler to see what is asked of it
LOOK_S = 1.0
FIRST_WORD_S = 5.0
SPARES = 32  # at most: an autoscaler has a limit of its own
PAUSE_S = 30.0
_SPARE = "room-for-a-trial-"


def require_fit(
    resources: TrialResources,
    *,
    say: Callable[[str], None] = log,
    patience_s: float = PATIENCE_S,
) -> None:
    """Return when a machine can hold a trial, or one that can might be added; says what it lacks.

    Ray must be running. InputError after `patience_s` where nothing adds such a machine; Ray would
    wait for ever.
    """
    if fits(resources, machines()):
        return
    say(f"waiting: {_lack(resources, machines())}")
    with Demand(resources) as demand:
        demand.ask(1)
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            time.sleep(LOOK_S / 2)
            if fits(resources, machines()):
                return
        growth = can_grow(_request(resources))
    if growth is False:
        raise InputError(
            f"{too_much(machines(), resources.cpus, resources.gpus)}\nThe cluster has no "
            "autoscaler that would bring such a machine; one may be added to it by hand"
        )
    say(f"waiting on: {_hope(growth)}")


class Waiting:
    """Says what a search waits for while it has trials to run and Ray has room for none."""

    def __init__(self, resources: TrialResources, say: Callable[[str], None] = log) -> None:
        self._resources, self._say = resources, say
        self._look = 0.0
        self._since: float | None = None
        self._said = ""

    def check(self) -> None:
        """To be called often: a line after five seconds of that, and another when it changes."""
        now = time.monotonic()
        if now < self._look:
            return
        self._look = now + LOOK_S
        states = _trials()
        if states["CREATED"] or not states["PENDING"]:
            self._since, self._said = None, ""
            return
        self._since = now if self._since is None else self._since
        if now - self._since >= FIRST_WORD_S and (line := self._reason()) != self._said:
            self._say(line)
            self._said = line

    def _reason(self) -> str:
        offers = machines()
        if fits(self._resources, offers):
            need = amount(self._resources.cpus, self._resources.gpus)
            return f"waiting: a trial needs {need}, and the machines with that do other work"
        hope = _hope(can_grow(_request(self._resources)))
        return f"waiting: {_lack(self._resources, offers)}; {hope}"


class Demand:
    """Shows an autoscaler how many trials could run; Tune shows it one, and so one machine comes.

    For each there is a placement group, which goes when there is room for it or when the block
    ends. Ray ends them with this process too. What its `request_resources` asks for would stand
    until somebody withdraws it, with idle machines that cost money, and the newer autoscaler
    grants that as a whole or not at all.
    """

    def __init__(self, resources: TrialResources) -> None:
        self._resources = resources
        self._groups: list[PlacementGroup] = []
        self._look = 0.0
        self._rest = 0.0  # until when no group is made

    def __enter__(self) -> Demand:
        return self

    def __exit__(self, *_: object) -> None:
        self._keep([])

    def ask(self, left: int) -> None:
        """To be called often, with the number of trials that are not over."""
        now = time.monotonic()
        if now < self._look:
            return
        self._look = now + LOOK_S
        table = placement_group_table()
        placed = {key for key, group in table.items() if group["state"] == "CREATED"}
        waiting = [group for group in self._groups if group.id.hex() not in placed]
        if len(waiting) < len(self._groups):  # the trial that waits for this room gets it
            self._rest = now + PAUSE_S
        missing = self._missing(left)
        self._keep(waiting[:missing])
        if now >= self._rest:
            for _ in range(missing - len(waiting)):
                name = f"{_SPARE}{uuid4().hex}"
                self._groups.append(placement_group([_request(self._resources)], name=name))

    def _missing(self, left: int) -> int:
        """How many trials could run beside those that do, or wait for room."""
        if can_grow(_request(self._resources)) is False:
            return 0
        at_once = min(left, self._resources.concurrent or left)
        states = _trials()
        return max(0, min(at_once - states.total() + states["REMOVED"], SPARES))

    def _keep(self, groups: list[PlacementGroup]) -> None:
        for group in self._groups:
            if group not in groups:
                remove_placement_group(group)
        self._groups = groups


class Room(Listener):
    """Asks a growing cluster for all that could run, and says what is waited for meanwhile.

    `left` tells how many trials are not over, running ones included.
    """

    def __init__(
        self, resources: TrialResources, left: Callable[[], int], say: Callable[[str], None] = log
    ) -> None:
        self._left = left
        self._demand, self._waiting = Demand(resources), Waiting(resources, say)

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *ended: object) -> None:
        self._demand.__exit__(*ended)

    def step(self) -> None:
        """Look at it, once a second."""
        self._demand.ask(self._left())
        self._waiting.check()


def _trials() -> Counter[str]:
    """How many placement groups of this search's trials there are by state."""
    job = ray.get_runtime_context().get_job_id()  # with which their ids end
    return Counter(
        group["state"]
        for key, group in placement_group_table().items()
        if key.endswith(job)
        and group["state"] != "REMOVED"
        and not group["name"].startswith(_SPARE)
    )


def _request(resources: TrialResources) -> dict[str, float]:
    return {"CPU": resources.cpus, "GPU": resources.gpus}


def _lack(resources: TrialResources, offers: Sequence[Machine]) -> str:
    need = amount(resources.cpus, resources.gpus)
    counts = Counter(amount(machine.cpus, machine.gpus) for machine in offers)
    have = ", ".join(f"{count} x {offer}" for offer, count in counts.items()) or "none"
    return f"a trial needs {need}, which no machine has ({have})"


def _hope(growth: bool | None) -> str:
    return {
        True: "the cluster's autoscaler could bring such a machine",
        False: "nothing adds such a machine; one may be added by hand",
        None: "whether the cluster's autoscaler could bring such a machine it does not say",
    }[growth]
