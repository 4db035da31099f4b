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

from detector.config.cli import log
from detector.core.errors import InputError
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
    with Room(resources, lambda: 1, say) as room:
        room.step()
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            time.sleep(LOOK_S / 2)
            if fits(resources, machines()):
                return
        growth = can_grow(_request(resources))
    if growth is False:
        raise InputError(
            f"{too_much(machines(), resources)}\nThe cluster has no "
            "autoscaler that would bring such a machine; one may be added to it by hand"
        )
    say(f"waiting on: {_hope(growth)}")


class Room(Listener):
    """Asks a growing cluster for all that could run, and says what is waited for meanwhile.

    Tune shows an autoscaler one trial, and so one machine comes. Here each trial that could run has
    a placement group, which goes when there is room for it or when the block ends. Ray ends them
    with this process too. What its `request_resources` asks for would stand until somebody
    withdraws it, with idle machines that cost money, and the newer autoscaler grants that as a
    whole or not at all. `at_once` tells how many trials could run now, running ones included: a
    paused one that waits for others' scores has no use for a machine.
    """

    def __init__(
        self,
        resources: TrialResources,
        at_once: Callable[[], int],
        say: Callable[[str], None] = log,
    ) -> None:
        self._resources, self._at_once, self._say = resources, at_once, say
        self._groups: list[PlacementGroup] = []
        self._look = 0.0
        self._rest = 0.0  # until when no group is made
        self._since: float | None = None  # when Ray began to have room for no trial
        self._said = ""

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_: object) -> None:
        self._keep([])

    def step(self) -> None:
        """Look at it, once a second."""
        now = time.monotonic()
        if now >= self._look:
            self._look = now + LOOK_S
            trials = _trials()
            self._ask(now, trials.total())
            self._tell(now, trials)

    def _ask(self, now: float, present: int) -> None:
        """Have a group for each trial that could run beside the present ones."""
        table = placement_group_table()
        placed = {key for key, group in table.items() if group["state"] == "CREATED"}
        waiting = [group for group in self._groups if group.id.hex() not in placed]
        if len(waiting) < len(self._groups):  # the trial that waits for this room gets it
            self._rest = now + PAUSE_S
        request, missing = _request(self._resources), 0
        if can_grow(request) is not False:
            could = self._at_once()
            missing = min(could, self._resources.concurrent or could) - present
            missing = max(0, min(missing, SPARES))
        self._keep(waiting[:missing])
        if now >= self._rest:
            for _ in range(missing - len(waiting)):
                self._groups.append(placement_group([request], name=f"{_SPARE}{uuid4().hex}"))

    def _keep(self, groups: list[PlacementGroup]) -> None:
        for group in self._groups:
            if group not in groups:
                remove_placement_group(group)
        self._groups = groups

    def _tell(self, now: float, trials: Counter[str]) -> None:
        """A line when trials have waited for five seconds, and another when it changes."""
        if trials["CREATED"] or not trials["PENDING"]:
            self._since, self._said = None, ""
            return
        self._since = now if self._since is None else self._since
        if now - self._since >= FIRST_WORD_S and (line := self._reason()) != self._said:
            self._say(line)
            self._said = line

    def _reason(self) -> str:
        offers = machines()
        if fits(self._resources, offers):
            need = amount(self._resources)
            return f"waiting: a trial needs {need}, and the machines with that do other work"
        hope = _hope(can_grow(_request(self._resources)))
        return f"waiting: {_lack(self._resources, offers)}; {hope}"


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
    counts = Counter(map(amount, offers))
    have = ", ".join(f"{count} x {offer}" for offer, count in counts.items()) or "none"
    return f"a trial needs {amount(resources)}, which no machine has ({have})"


def _hope(growth: bool | None) -> str:
    return {
        True: "the cluster's autoscaler could bring such a machine",
        False: "nothing adds such a machine; one may be added by hand",
        None: "whether the cluster's autoscaler could bring such a machine it does not say",
    }[growth]
