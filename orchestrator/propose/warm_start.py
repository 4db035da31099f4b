"""Points to try first in a search: a published tuning table, or another run's best trials.

Only settings are taken over. Scores of other pages and another budget say nothing about this
search, so its trials measure every point again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from detector.core.errors import InputError
from detector.core.files import expand_home
from orchestrator.results.leaderboard import read_leaderboard
from orchestrator.results.ranking import ranked
from orchestrator.run.run_folder import SPACE
from orchestrator.space.conditions import completed
from orchestrator.space.files import read_space_file
from orchestrator.space.search_space import SearchSpace, load_space
from orchestrator.space.values import read_one
from orchestrator.trials.records import TrialState

PUBLISHED = "published"  # the space whose rows are the table
RUNS = Path("runs")
Point = dict[str, Any]


@dataclass(frozen=True)
class _Source:
    """Named candidates, best first: settings by dotted name, searched ones and fixed ones."""

    name: str
    candidates: dict[str, Point]
    fixed: dict[str, Any]  # of every candidate, below its own
    notes: tuple[str, ...] = ()


def points_for(
    ref: str, space: SearchSpace, *, limit: int = 8
) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    """At most `limit` points of the space, best first and each once, and lines for the user.

    `ref` is `published`, or the folder of another run, whose finished trials count (or its
    stopped ones, when none finished). A point has the searched and the fixed settings of its
    source that this space searches; a setting without a value is left to the sampler, unless
    others depend on it. The lines tell which points cannot be used and why, and what is left
    out or drawn.

    Raises InputError when there is no such run, it cannot be read, or no point can be used.
    """
    refusals: list[str] = []
    for source in _published() if ref == PUBLISHED else [_of_run(ref)]:
        points, refused = _points(source, space)
        if points:
            notes = [*source.notes, *refused, *_settings_notes(source, points, space)]
            if len(points) > limit:
                notes.append(f"{source.name}: the best {limit} of {len(points)} points are tried")
            return tuple(points.values())[:limit], tuple(f"warm_start: {note}" for note in notes)
        refusals = refusals or refused
    raise InputError(
        f"warm_start: {ref} has no point that this space can try; widen the space, or start "
        "from something else\n" + "\n".join(refusals)
    )


def _published() -> Iterator[_Source]:
    """The published table, with its own backbones and with those that stand in on a CPU."""
    note = "published: light backbones stand in for the published ones, none of which is searched"
    for gpu in (True, False):
        table = load_space(PUBLISHED, gpu=gpu)
        rows = sorted(table.published, key=lambda row: -row.hmean)
        candidates = {f"row {row.row!r}": row.point for row in rows}
        yield _Source(PUBLISHED, candidates, table.fixed, () if gpu else (note,))


def _of_run(ref: str) -> _Source:
    """The trials of a run that may be tried again; InputError when there are none."""
    folder = expand_home(ref)
    if not folder.is_dir():
        raise InputError(f"warm_start: there is no run at {ref}; {_nearby(folder)}")
    if not (folder / SPACE).is_file():
        raise InputError(
            f"warm_start: {ref} is not a run's folder ({SPACE} is missing); {_nearby(folder)}"
        )
    records = ranked(read_leaderboard(folder))
    scored = [r for r in records if r.hmean is not None and math.isfinite(r.hmean)]
    finished = [r for r in scored if r.state is TrialState.FINISHED]
    tried = finished or [r for r in scored if r.state is TrialState.STOPPED]
    if not tried:
        raise InputError(
            f"warm_start: {ref} has no trial with a score among {len(records)}; let it finish "
            "one, or start from another run"
        )
    note = f"{ref}: no trial was finished; those that were stopped early are tried instead"
    return _Source(
        ref,
        {f"trial {record.trial}": record.params for record in tried},
        read_space_file(folder / SPACE).at("fixed"),
        () if finished else (note,),
    )


def _nearby(folder: Path) -> str:
    """Which runs there are where this one was looked for."""
    place = folder.parent if len(folder.parts) > 1 else RUNS
    runs = [str(path.parent) for path in sorted(place.glob(f"*/{SPACE}"))]
    near = get_close_matches(str(folder), [PUBLISHED, *runs], n=1) or [
        run for run in runs if Path(run).name == folder.name
    ]
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}runs in {place}: {', '.join(runs) or 'none'}; or give {PUBLISHED}"


def _points(source: _Source, space: SearchSpace) -> tuple[dict[str, Point], list[str]]:
    """The candidates as points of the space, each once, and why others cannot be tried."""
    points: dict[str, Point] = {}
    refusals = []
    for name, given in source.candidates.items():
        point = _point(source.fixed | given, space)
        if faults := "; ".join(_faults(point, space)):
            refusals.append(f"{source.name}: {name} is not tried: {faults}")
        elif point not in points.values():
            points[name] = point
    return points, refusals


def _point(values: Mapping[str, Any], space: SearchSpace) -> Point:
    """The values, as the detector reads them, of searched settings that can apply."""
    point: Point = {}
    whole = completed(values, space.parameters)
    for key, parameter in space.parameters.items():
        decided = parameter.when.keys() <= point.keys()
        if key in whole and (not decided or parameter.applies(point)):
            point[key] = read_one(space.fixed, key, whole[key])
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


def _settings_notes(
    source: _Source, points: Mapping[str, Point], space: SearchSpace
) -> Iterator[str]:
    """What is not taken over of the points' candidates, and what the sampler adds."""
    given = [setting for name in points for setting in source.candidates[name].items()]
    others = sorted({key for key, _ in given} - space.parameters.keys() - space.fixed.keys())
    held = sorted({k for k, value in given if k in space.fixed and space.fixed[k] != value})
    drawn = [k for k in space.parameters if any(_is_drawn(k, p, space) for p in points.values())]
    if others:
        yield f"{source.name}: not searched here, so left out: {', '.join(others)}"
    if held:
        texts = ", ".join(f"{key}={space.fixed[key]}" for key in held)
        yield f"{source.name}: fixed here, so not taken over: {texts}"
    if drawn:
        yield f"{source.name}: has no value, so the sampler draws: {', '.join(drawn)}"
