"""What must hold of each machine: faults stop a search before its first trial, or are told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.machines.look import Files, Machine

GIB = 2**30
LEAST_DISK, SMALL_DISK = 1 * GIB, 10 * GIB  # a trial's files, and some epochs of room for others
FULL_SHARE = 0.05  # Ray makes no object on a disk that is 95 % full
LEAST_SHARED, SMALL_SHARED = GIB // 8, GIB  # Docker gives a container 64 MiB of it
SKEW_S, MOST_SKEW_S = 5.0, 300.0  # buckets refuse what is signed a quarter of an hour off
# Differences in these break what machines send each other, or make trials another program's.
SAME = {
    "python": "install the same Python to the patch: Ray sends functions as its bytecode",
    "ray": "install one version of Ray on all machines",
    "torch": "install one version of torch, or trials cannot be compared",
    "code": "install the same revision of this program on all machines",
}


@dataclass(frozen=True)
class Answer:
    """What was heard of a machine.

    machine: None where it did not answer. told_gpus: as Ray was told. heard: whether the search
    reads what the machine wrote. asked, received: by the clock of the search's own machine.
    """

    name: str
    machine: Machine | None
    reason: str
    told_gpus: float
    heard: bool
    asked: float
    received: float


@dataclass(frozen=True)
class Own:
    """The machine of the search, with which all are compared, and what the search asks for.

    place: the run's folder or bucket. loaders: whether processes of their own load samples.
    """

    versions: dict[str, str]
    files: Files | None
    data: Path | None
    place: str
    loaders: bool


@dataclass(frozen=True)
class Finding:
    """One line about one machine."""

    machine: str
    fault: bool
    text: str

    def __str__(self) -> str:
        return f"{self.machine}: {self.text}"


def findings(answer: Answer, own: Own) -> list[Finding]:
    """All that is wrong or worth knowing of a machine."""
    if answer.machine is None:
        return [Finding(answer.name, True, answer.reason)]
    machine = answer.machine
    parts = (
        _versions(machine, own),
        _gpus(machine, answer.told_gpus),
        _disks(machine),
        _shared_memory(machine, own),
        _place(machine, own, heard=answer.heard),
        _data(machine, own),
        _clock(machine, answer),
    )
    return [Finding(answer.name, fault, text) for part in parts for fault, text in part]


def _versions(machine: Machine, own: Own) -> Iterator[tuple[bool, str]]:
    for name in sorted(machine.versions.keys() | own.versions.keys()):
        there, here = machine.versions.get(name, "none"), own.versions.get(name, "none")
        if there == here:
            continue
        text = f"{name} {there}, but {here} on the machine of the search"
        remedy = SAME.get(name)
        yield remedy is not None, f"{text}; {remedy}" if remedy else text


def _gpus(machine: Machine, told: float) -> Iterator[tuple[bool, str]]:
    reason = f" ({machine.gpu_fault})" if machine.gpu_fault else ""
    if told > machine.gpus:
        yield (
            True,
            f"Ray was told of {told:g} GPUs, and torch sees {machine.gpus}{reason}; mend the "
            "driver or torch's build there, or start Ray with --num-gpus=0",
        )
    elif told and machine.gpu_fault:
        yield True, f"a GPU cannot be used{reason}; end what holds it, or restart that machine"
    elif machine.gpus and not told:
        yield (
            False,
            f"torch sees {machine.gpus} GPUs that Ray was not told of, so that no trial gets one; "
            "start Ray there with --num-gpus",
        )


def _disks(machine: Machine) -> Iterator[tuple[bool, str]]:
    for disk in machine.disks:
        left = f"{disk.path}, for {disk.use}, has {_amount(disk.free)} free"
        if disk.free < LEAST_DISK:
            yield True, f"{left}, less than {_amount(LEAST_DISK)}; make room there"
        elif disk.free < SMALL_DISK or disk.free < FULL_SHARE * disk.total:
            yield False, f"{left} of {_amount(disk.total)}; a long search may fill it"


def _shared_memory(machine: Machine, own: Own) -> Iterator[tuple[bool, str]]:
    free = machine.shared_memory
    if free is None or not own.loaders or free >= SMALL_SHARED:
        return
    text = f"/dev/shm has {_amount(free)} free, through which loaders pass their samples"
    if free < LEAST_SHARED:
        yield (
            True,
            f"{text}, less than {_amount(LEAST_SHARED)}; give the container more "
            "(docker run --shm-size=2g), or add data.workers=0",
        )
    else:
        yield False, f"{text}; with many loaders give it more, or set data.workers"


def _place(machine: Machine, own: Own, *, heard: bool) -> Iterator[tuple[bool, str]]:
    remedy = (
        "trials keep their files there: share that folder by the same path on all machines, or "
        "give bucket=s3://…"
        if own.place.startswith("/")
        else "each machine must list, read, write and delete there"
    )
    if machine.exchange:
        yield True, f"{own.place} cannot be used ({machine.exchange}); {remedy}"
    elif not heard:
        yield True, f"{own.place} is another one there: the search does not see its file; {remedy}"


def _data(machine: Machine, own: Own) -> Iterator[tuple[bool, str]]:
    remedy = "share the folder, copy it again, or give data.root=s3://…"
    if machine.data:
        yield True, f"{own.data} cannot be read ({machine.data}); {remedy}"
        return
    there, here = machine.files, own.files
    if there is None or here is None or there == here:
        return
    if not (there.whole and here.whole):
        yield False, f"{own.data} has too many files to compare in time; see that they are the same"
        return
    what = (
        f"holds {there.count} files, not {here.count}"
        if there.count != here.count
        else f"holds {there.count} files, some of other names or sizes"
    )
    yield True, f"{own.data} {what}, unlike that of the search; {remedy}"


def _clock(machine: Machine, answer: Answer) -> Iterator[tuple[bool, str]]:
    """The part of the difference that the way there and back cannot explain."""
    ahead = max(machine.ended - answer.received, 0.0) or min(machine.began - answer.asked, 0.0)
    if abs(ahead) < SKEW_S:
        return
    text = f"its clock is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
    if abs(ahead) > MOST_SKEW_S:
        yield True, f"{text}, more than {MOST_SKEW_S:.0f} s; set it, buckets refuse such times"
    else:
        yield False, f"{text}; charts over time will be off by that"


def _amount(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"
