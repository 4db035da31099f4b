"""Space files laid over each other, as they are written; `check` reads what is left.

`extends:` names a space, or a file beside the one that says it. A child goes over its parent
section by section, so the layers are, later ones winning: the parent, the child, `cpu:` of the
parent, `cpu:` of the child, `demo:` of the parent, `demo:` of the child, the command line. What a
space needs on a small machine thus holds for its children too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector.core.errors import InputError
from orchestrator.space.files import SpaceFile, find_space, meant, read_space_file

SECTIONS = ("fixed", "parameters", "warm_start", "budget")
TOP_KEYS = ("extends", "name", "description", *SECTIONS, "cpu", "demo")
PARTS: tuple[tuple[str, ...], ...] = ((), ("cpu",), ("demo",))
COMMAND_LINE = "command line"
# Synthetic pages of a space that does not say how many.
DEMO_PAGES = {"data.train_pages": 24, "data.val_pages": 8}
Fault = str


@dataclass(frozen=True)
class Entry:
    """A value as it is written, and where.

    newer: the settings that files extending this one mention, and those that the `cpu:` and
    `demo:` of its parents do where these go over it. A condition or a point that does not fit
    these any more is no fault.
    """

    value: Any
    place: str = COMMAND_LINE  # or file:line
    newer: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Layer:
    """Part of a space, or all of it: the entries of its sections by key.

    fixed: a value here counts only while the key is not searched; see `settled`.
    parameters: the value None takes a setting out of the search.
    """

    fixed: dict[str, Entry] = field(default_factory=dict)
    parameters: dict[str, Entry] = field(default_factory=dict)
    warm_start: tuple[dict[str, Entry], ...] | None = None  # None: the layer below decides
    budget: dict[str, Entry] = field(default_factory=dict)

    @property
    def searched(self) -> dict[str, Entry]:
        """The parameters that were not taken out."""
        return {k: entry for k, entry in self.parameters.items() if entry.value is not None}

    @property
    def settled(self) -> dict[str, Entry]:
        """The fixed values of settings that are not searched."""
        searched = self.searched
        return {k: entry for k, entry in self.fixed.items() if k not in searched}

    def under(self, over: Layer) -> Layer:
        """This layer with another on top: keys replace keys, a list of points the whole list."""
        kept = {k: entry for k, entry in self.parameters.items() if k not in over.fixed}
        return Layer(
            fixed=self.fixed | over.fixed,
            parameters=kept | over.parameters,
            warm_start=self.warm_start if over.warm_start is None else over.warm_start,
            budget=self.budget | over.budget,
        )


def read_space(path: Path) -> list[SpaceFile]:
    """A space's own file, then its parent, the parent's parent and so on.

    Raises InputError for a file that cannot be read, a parent that does not exist and spaces
    that extend each other in a circle.
    """
    files = [read_space_file(path)]
    while "extends" in files[-1].content:
        try:
            files.append(read_space_file(_parent(files)))
        except InputError as error:  # without its parent, the rest of a child means nothing
            told = [fault for file in files for fault in _form(file)]
            raise InputError("\n".join([*told, str(error)])) from None
    return files


def _parent(files: Sequence[SpaceFile]) -> Path:
    """The file that the last one extends."""
    place = f"{files[-1].where(('extends',))}: extends"
    ref = files[-1].content["extends"]
    if not isinstance(ref, str) or not ref:
        raise InputError(f"{place}: must be one space's name or the path of a file, got {ref!r}")
    path = find_space(ref, folder=files[-1].path.parent, place=place)
    known = [file.path.resolve() for file in files]
    if path.resolve() in known:
        start = known.index(path.resolve())
        circle = " -> ".join(str(p) for p in (*(file.path for file in files[start:]), path))
        raise InputError(f"{place}: spaces extend each other in a circle: {circle}; cut it here")
    return path


def resolve(files: Sequence[SpaceFile], *, gpu: bool, demo: bool) -> Layer:
    """All of a space for a machine, with or without data of its own."""
    pages = {key: Entry(value, "demo") for key, value in DEMO_PAGES.items()}
    layer = Layer(fixed=pages if demo else {})
    parts = ((), *([] if gpu else [("cpu",)]), *([("demo",)] if demo else []))
    for number, part in enumerate(parts):
        for index in reversed(range(len(files))):
            over = _mentioned(files[index + 1 :], parts[number + 1 :])
            layer = layer.under(_layer(files[index], part, files[:index], over))
    return layer


def _mentioned(files: Sequence[SpaceFile], parts: Sequence[tuple[str, ...]]) -> frozenset[str]:
    """The settings that these parts of the files fix, search or take out."""
    sections = [(*part, name) for part in parts for name in ("fixed", "parameters")]
    return frozenset(key for file in files for path in sections for key in file.at(*path))


def _layer(
    file: SpaceFile, part: tuple[str, ...], children: Sequence[SpaceFile], over: frozenset[str]
) -> Layer:
    """A part of a file, without what the main part of one of its children removes.

    over: settings that parents mention in parts which go over this one.
    """
    newer = _mentioned(children, PARTS) | over
    removed = {
        key
        for child in children
        for key, spec in child.at("parameters").items()
        if part and spec is None
    }

    def entries(values: dict[str, Any], *path: str | int) -> dict[str, Entry]:
        places = {key: file.where((*part, *path, key)) for key in values}
        return {key: Entry(value, places[key], newer) for key, value in values.items()}

    fixed, parameters, budget = (
        entries(file.at(*part, name), name) for name in ("fixed", "parameters", "budget")
    )
    points: Any = file.at(*part).get("warm_start")
    return Layer(
        fixed=fixed,
        parameters={key: entry for key, entry in parameters.items() if key not in removed},
        warm_start=tuple(entries(point, "warm_start", i) for i, point in enumerate(points))
        if _are_points(points)
        else None,
        budget=budget,
    )


def faults_of_form(files: Sequence[SpaceFile]) -> list[Fault]:
    """What is wrong with each file whatever its settings mean, parents first."""
    told = [fault for file in reversed(files) for fault in _form(file)]
    below: dict[str, None] = {}
    for file in reversed(files):
        for part in PARTS:
            specs = file.at(*part, "parameters")
            removed = [key for key, spec in specs.items() if spec is None]
            for key in removed:
                if key not in below:
                    hint = "remove the line, or name a parent with extends: NAME"
                    told.append(
                        f"{file.where((*part, 'parameters', key))}: {key}: null takes a setting "
                        f"out of the search below, which has none such; "
                        f"{meant(key, below) if below else hint}"
                    )
                elif not part:
                    below.pop(key)
            below |= dict.fromkeys(key for key in specs if key not in removed)
    return told


def _form(file: SpaceFile) -> Iterator[Fault]:
    for part in PARTS:
        for key, value in file.at(*part).items():
            if text := _section_fault(key, value, SECTIONS if part else TOP_KEYS):
                yield f"{file.where((*part, key))}: {key}: {text}"
        specs = file.at(*part, "parameters")
        for key in file.at(*part, "fixed"):
            if specs.get(key) is not None:
                place = file.where((*part, "fixed", key))
                yield f"{place}: {key}: both fixed and searched; keep one"


def _section_fault(key: str, value: Any, names: Sequence[str]) -> str | None:
    if key not in names:
        return f"unknown section; {meant(key, names)}"
    if key in ("name", "description"):
        return None if isinstance(value, str) else "must be text"
    if value is None or key == "extends":
        return None
    if key == "warm_start":
        return None if _are_points(value) else "must be a list of points (`- key: value`)"
    return None if isinstance(value, dict) else f"must hold `key: value` lines, got {value!r}"


def _are_points(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(point, dict) for point in value)
