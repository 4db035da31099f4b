"""How many cores and GPUs a trial gets, and how many trials run at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from detector.core.errors import InputError
from orchestrator.place.cores import usable_cores
from orchestrator.trials.failure import Sharing

LABEL = "ray.io/accelerator-type"  # of Ray, on machines with GPUs that it knows
TRIALS_AT_ONCE = 4  # on one machine without a GPU
TRIALS_ON_A_GPU = 8  # at most: more only wait for each other
SPARE_MEMORY = 0.1  # of a GPU, for pages larger than the step that was measured
RAY_DIGITS = 4  # of a share of a GPU
CPUS_UNKNOWN = 2  # asked for when no machine with a GPU has joined the cluster yet


@dataclass(frozen=True)
class Machine:
    """What one machine offers; `kind` is that of its GPUs, where Ray has a label for it."""

    cpus: float
    gpus: float
    kind: str = ""


@dataclass(frozen=True)
class GpuKind:
    """A kind of GPU: the bytes on one, the share of it that a trial gets, seconds of a step."""

    bytes: int
    share: float
    seconds: float = 1.0


@dataclass(frozen=True)
class TrialResources:
    """What one trial reserves; `concurrent` None lets the cluster's size decide.

    memory_factors: by network, what a step took of a GPU over what was predicted, where measured.
    kinds: of GPU by name, see `orchestrator.place.gpu_kinds`, where measured. machine_cpus: what
    the smallest machine that holds a trial has; 0 where none is known.
    """

    cpus: int
    gpus: float
    concurrent: int | None
    memory_factors: Mapping[str, float] = field(default_factory=dict, hash=False)
    kinds: Mapping[str, GpuKind] = field(default_factory=dict, hash=False)
    machine_cpus: int = field(default=0, compare=False)

    @property
    def alone(self) -> TrialResources:
        """What a trial reserves that no other is to be beside."""
        gpus = _whole(self.gpus)
        kinds = {name: replace(kind, share=_whole(kind.share)) for name, kind in self.kinds.items()}
        return replace(self, cpus=max(self.cpus, self.machine_cpus), gpus=gpus, kinds=kinds)

    def gpus_on(self, kind: str) -> float:
        """What a trial gets of a GPU there; of a kind that is not known, what it gets of any."""
        return self.kinds[kind].share if kind in self.kinds else self.gpus

    @property
    def sharing(self) -> Sharing:
        """What trials have in common."""
        beside = self.concurrent != 1
        return Sharing(gpu=beside and self.gpus < 1, machine=beside)


def _whole(gpus: float) -> float:
    return 1.0 if 0 < gpus < 1 else gpus


def this_machine() -> Machine:
    """Cores this process may use, and GPUs torch sees."""
    import torch  # seconds of imports that a process without this question is spared

    return Machine(usable_cores(), torch.cuda.device_count())


def allot(
    machines: Sequence[Machine],
    *,
    trials: int,
    gpus_per_trial: float | None = None,
    cpus_per_trial: int | None = None,
    concurrent: int | None = None,
    growing: bool = False,
) -> TrialResources:
    """The share of one trial; None in an argument means "choose".

    With GPUs a trial gets one, and an even share of its machine's cores. Without, up to
    four trials share the cores, one core each on a small machine: reading, augmenting and
    making targets run on one thread, so two trials of one core finish sooner than one
    after the other on two. `growing` is a cluster that may add machines, where a request
    that no present machine fits is allowed to wait.

    Raises InputError when no machine can ever hold a trial; Ray would wait for ever.
    """
    if gpus_per_trial is None:
        gpus_per_trial = 1.0 if growing or any(m.gpus > 0 for m in machines) else 0.0
    if cpus_per_trial is None:
        cpus_per_trial = _share_of_cores(machines, gpus_per_trial, trials)
    share = TrialResources(cpus_per_trial, gpus_per_trial, concurrent)
    held = {m: slots(m, cpus=cpus_per_trial, gpus=gpus_per_trial) for m in machines}
    holding = [int(machine.cpus) for machine, count in held.items() if count]
    share = replace(share, machine_cpus=min(holding, default=0))
    if growing:
        return share
    most = sum(held[machine] for machine in machines)
    if most == 0:
        raise InputError(too_much(machines, share))
    return share if concurrent else replace(share, concurrent=min(most, trials))


def packed(trial_bytes: int, gpu_bytes: int, *, cores: int, trials: int) -> float:
    """The share of a GPU for each of as many trials as fit on it: 1 divided by their number.

    `trial_bytes` is what the largest trial takes, `gpu_bytes` what there is, of which SPARE_MEMORY
    is left free. `cores` and `trials` are those for each GPU; a trial needs a core, and a share for
    trials that never come would take cores from the others. One trial gets a GPU in any case: a
    training that does not fit works through its batch in parts.
    """
    fit = int(gpu_bytes * (1 - SPARE_MEMORY) // max(trial_bytes, 1))
    count = max(min(fit, cores, trials, TRIALS_ON_A_GPU), 1)
    # Rounded down: Ray keeps four digits, and six shares of 0.1667 are more than a GPU.
    return math.floor(10**RAY_DIGITS / count) / 10**RAY_DIGITS


def describe(resources: TrialResources) -> str:
    """One line for people."""
    at_once = "as many as fit" if resources.concurrent is None else f"{resources.concurrent}"
    return f"a trial gets {amount(resources)}; trials at once: {at_once}"


def amount(of: Machine | TrialResources) -> str:
    """Cores and GPUs in words."""
    cores = f"{of.cpus:g} CPU core{'' if of.cpus == 1 else 's'}"
    return f"{cores} and {of.gpus:g} GPU" if of.gpus else cores


def fits(resources: TrialResources, machines: Sequence[Machine]) -> bool:
    """Whether one of the machines can hold a trial."""
    cpus, gpus = resources.cpus, resources.gpus
    return any(slots(machine, cpus=cpus, gpus=gpus) for machine in machines)


def _share_of_cores(machines: Sequence[Machine], gpus_per_trial: float, trials: int) -> int:
    if gpus_per_trial > 0:
        shares = [m.cpus // max(_gpu_slots(m, gpus_per_trial), 1) for m in machines if m.gpus > 0]
        return max(int(min(shares)), 1) if shares else CPUS_UNKNOWN
    cpus = min((m.cpus for m in machines), default=1.0)
    at_once = max(min(TRIALS_AT_ONCE, trials), 1)
    return max(int(cpus // at_once), 1)


def slots(machine: Machine, *, cpus: int, gpus: float) -> int:
    """How many trials that reserve so much a machine holds."""
    by_cores = int(machine.cpus // cpus)
    return by_cores if gpus == 0 else min(by_cores, _gpu_slots(machine, gpus))


def _gpu_slots(machine: Machine, gpus: float) -> int:
    if gpus >= 1:
        return int(machine.gpus // gpus)
    # A fraction must fit on one GPU: three GPUs hold 3 trials of 0.6, not 5.
    return int(machine.gpus) * int(1 / gpus + 1e-9)


def too_much(machines: Sequence[Machine], share: TrialResources) -> str:
    """Why none of the machines can hold a trial, with the remedy."""
    cpus, gpus = share.cpus, share.gpus
    most_cpus = max((m.cpus for m in machines), default=0)
    most_gpus = max((m.gpus for m in machines), default=0)
    lines = []
    if cpus > most_cpus:
        lines.append(
            f"resources.cpus_per_trial: {cpus} is more than any machine has ({most_cpus:g}); "
            "lower it"
        )
    if gpus > most_gpus:
        lines.append(
            f"resources.gpus_per_trial: {gpus:g} is more than any machine has ({most_gpus:g}); "
            "lower it, or give resources.gpus_per_trial=0 to train on the CPU"
        )
    return "\n".join(lines) or (
        f"resources: no single machine has {cpus} CPU cores together with {gpus:g} GPUs; "
        "lower resources.cpus_per_trial or resources.gpus_per_trial"
    )
