"""Points to try first in a search: a published tuning table, or another run's best trials.

Only settings are taken over. Scores of other pages and another budget say nothing about this
search, so its trials measure every point again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from detector.commands import command
from detector.errors import InputError
from orchestrator.results.leaderboard import JSON_NAME, ranked, read_leaderboard
from orchestrator.run.run_folder import SPACE
from orchestrator.space.files import read_space_file
from orchestrator.space.search_space import SearchSpace, load_space
from orchestrator.space.values import read_one
from orchestrator.trials.records import TrialRecord, TrialState

PUBLISHED = "published"  # the space whose rows are the table
RUNS = Path("runs")
Point = dict[str, Any]


@dataclass(frozen=True)
class _Source:
    """Named candidates, best first: settings by dotted name, searched ones and fixed ones."""

    name: str
    candidates: tuple[tuple[str, Point], ...]
    fixed: dict[str, Any]  # of every candidate, below its own
    notes: tuple[str, ...] = ()


@dataclass
class _Reading:
    """What a source gives to a space."""

    points: list[Point]
    refusals: list[str]
    left_out: dict[str, None]  # names of settings that no point takes over
    drawn: dict[str, None]  # names of searched settings that some point has no value for


def points_for(
    ref: str, space: SearchSpace, *, limit: int = 8
) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    """At most `limit` points of the space, best first and each once, and lines for the user.

    `ref` is `published`, or the folder of another run, whose finished trials count (or its
    stopped ones, when none finished). A point has the searched and the fixed settings of its
    source that this space searches; a setting without a value is left to the sampler. The
    lines tell which points cannot be used and why, and what is left out or drawn.

    Raises InputError when there is no such run, it cannot be read, or no point can be used.
    """
    sources = _published() if ref == PUBLISHED else [_of_run(ref)]
    readings = [(source, _read(source, space)) for source in sources]
    usable = [(source, reading) for source, reading in readings if reading.points]
    if not usable:
        raise InputError(
            f"warm_start: {ref} has no point that this space can try; widen the space, or start "
            "from something else\n" + "\n".join(readings[0][1].refusals)
        )
    source, reading = usable[0]
    notes = [*source.notes, *reading.refusals, *_settings_notes(source, reading, space)]
    if len(reading.points) > limit:
        notes.append(f"{source.name}: the best {limit} of {len(reading.points)} points are tried")
    return tuple(reading.points[:limit]), tuple(f"warm_start: {note}" for note in notes)


def _published() -> list[_Source]:
    """The published table, with its own backbones and with those that stand in on a CPU."""
    note = "published: light backbones stand in for the published ones, none of which is searched"
    sources = []
    for gpu in (True, False):
        table = load_space(PUBLISHED, gpu=gpu)
        rows = sorted(table.published, key=lambda row: -row.hmean)
        candidates = tuple((f"row {row.row!r}", row.point) for row in rows)
        sources.append(_Source(PUBLISHED, candidates, table.fixed, () if gpu else (note,)))
    return sources


def _of_run(ref: str) -> _Source:
    """The trials of a run that may be tried again; InputError when there are none."""
    folder = Path(ref).expanduser()
    if not folder.is_dir():
        raise InputError(f"warm_start: there is no run at {ref}; {_nearby(folder)}")
    if not (folder / SPACE).is_file():
        raise InputError(
            f"warm_start: {ref} is not a run's folder ({SPACE} is missing); {_nearby(folder)}"
        )
    if not (folder / JSON_NAME).is_file():
        raise InputError(
            f"warm_start: {ref} has no {JSON_NAME}; write it with "
            f"{command('orchestrator.report', {'run': ref})}"
        )
    records = read_leaderboard(folder)
    finished = _scored(records, TrialState.FINISHED)
    stopped = _scored(records, TrialState.STOPPED)
    if not finished and not stopped:
        raise InputError(
            f"warm_start: {ref} has no trial with a score among {len(records)}; let it finish "
            "one, or start from another run"
        )
    note = f"{ref}: no trial was finished; those that were stopped early are tried instead"
    fixed = read_space_file(folder / SPACE).content.get("fixed")
    return _Source(
        ref,
        tuple((f"trial {record.trial}", record.params) for record in finished or stopped),
        fixed if isinstance(fixed, dict) else {},
        () if finished else (note,),
    )


def _scored(records: Sequence[TrialRecord], state: TrialState) -> list[TrialRecord]:
    """The trials in a state that have a score, best first."""
    return [
        record
        for record in ranked(records)
        if record.state is state and record.hmean is not None and math.isfinite(record.hmean)
    ]


def _nearby(folder: Path) -> str:
    """Which runs there are where this one was looked for."""
    place = folder.parent if len(folder.parts) > 1 else RUNS
    runs = [str(path.parent) for path in sorted(place.glob(f"*/{SPACE}"))]
    near = get_close_matches(str(folder), [PUBLISHED, *runs], n=1) or [
        run for run in runs if Path(run).name == folder.name
    ]
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}runs in {place}: {', '.join(runs) or 'none'}; or give {PUBLISHED}"


def _read(source: _Source, space: SearchSpace) -> _Reading:
    """The source's candidates as points of the space."""
    reading = _Reading([], [], {}, {})
    inherited = {key: source.fixed[key] for key in space.parameters if key in source.fixed}
    for name, given in source.candidates:
        point = _point(inherited | given, space)
        faults = list(_faults(point, space))
        if faults:
            reading.refusals.append(f"{source.name}: {name} is not tried: {'; '.join(faults)}")
        elif point not in reading.points:
            reading.points.append(point)
            reading.left_out |= _left_out(given, space)
            reading.drawn |= {key: None for key in space.parameters if _is_drawn(key, point, space)}
    return reading


def _left_out(given: Mapping[str, Any], space: SearchSpace) -> dict[str, None]:
    """Names of the settings that the space neither searches nor has at the same value."""
    return {
        key: None
        for key, value in given.items()
        if key not in space.parameters and (key not in space.fixed or space.fixed[key] != value)
    }


def _point(values: Mapping[str, Any], space: SearchSpace) -> Point:
    """The values, as the detector reads them, of searched settings that can apply."""
    point: Point = {}
    for key, parameter in space.parameters.items():
        decided = parameter.when.keys() <= point.keys()
        if key in values and (not decided or parameter.applies(point)):
            point[key] = read_one(space.fixed, key, values[key])
    return point


def _faults(point: Point, space: SearchSpace) -> Iterator[str]:
    """Why the space cannot try a point."""
    if not point:
        yield "it shares no setting with this space"
    outside = [key for key, value in point.items() if not space.parameters[key].contains(value)]
    for key in outside:
        yield f"{key}: {point[key]} is outside {space.parameters[key].describe()}"
    if outside or not set(space.active(point)) <= point.keys():
        return  # what is drawn decides whether the settings fit together
    try:
        space.train_config(point)
    except InputError as error:
        yield "; ".join(str(error).splitlines())


def _is_drawn(key: str, point: Point, space: SearchSpace) -> bool:
    """Whether a setting may apply at a point that has no value for it."""
    when = space.parameters[key].when
    return key not in point and all(
        point[other] in allowed for other, allowed in when.items() if other in point
    )


def _settings_notes(source: _Source, reading: _Reading, space: SearchSpace) -> Iterator[str]:
    """What is not taken over, and what the sampler adds."""
    left_out = sorted(key for key in reading.left_out if key not in space.fixed)
    held = sorted(key for key in reading.left_out if key in space.fixed)
    if left_out:
        yield f"{source.name}: not searched here, so left out: {', '.join(left_out)}"
    if held:
        texts = ", ".join(f"{key}={space.fixed[key]}" for key in held)
        yield f"{source.name}: fixed here, so not taken over: {texts}"
    if reading.drawn:
        yield f"{source.name}: has no value, so the sampler draws: {', '.join(reading.drawn)}"
