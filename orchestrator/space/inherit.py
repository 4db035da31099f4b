"""Space files that extend others: `extends: NAME` or a path beside the file.

A child goes over its parent section by section, so the layers of both are, later ones winning:
the parent, the child, `cpu:` of the parent, `cpu:` of the child, `demo:` of the parent, `demo:`
of the child. What a space needs on a small machine thus holds for its children too.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from detector.errors import InputError
from orchestrator.space.files import SpaceFile, find_space, read_space_file
from orchestrator.space.layers import Fault, Layer, Layers, read_layers


def read_space(path: Path) -> tuple[SpaceFile, Layers]:
    """A space's own file, and its layers over those of its parents.

    Raises InputError for a file that cannot be read, a parent that does not exist and spaces
    that extend each other in a circle; faults in the form of any file are in the layers.
    """
    file = read_space_file(path)
    return file, _with_parents(file, (path,))


def _with_parents(file: SpaceFile, chain: tuple[Path, ...]) -> Layers:
    """The file's layers over its parents'; `chain` are the files from the child to this one."""
    own = read_layers(file)
    if "extends" not in file.content:
        return replace(own, faults=(*own.faults, *_vain_removals(own, None)))
    try:
        path = _parent(file, chain)
        parent = _with_parents(read_space_file(path), (*chain, path))
    except InputError as error:  # without its parent, the rest of a child means nothing
        raise InputError("\n".join([*own.faults, str(error)])) from None
    return extend(parent, own)


def _parent(file: SpaceFile, chain: tuple[Path, ...]) -> Path:
    place = f"{file.where(('extends',))}: extends"
    ref = file.content["extends"]
    if not isinstance(ref, str) or not ref:
        raise InputError(f"{place}: must be one space's name or the path of a file, got {ref!r}")
    path = find_space(ref, folder=file.path.parent, place=place)
    known = [p.resolve() for p in chain]
    if path.resolve() in known:
        start = known.index(path.resolve())
        circle = " -> ".join(str(p) for p in (*chain[start:], path))
        raise InputError(f"{place}: spaces extend each other in a circle: {circle}; cut it here")
    return path


def extend(parent: Layers, child: Layers) -> Layers:
    """The child's sections over the parent's.

    What the child itself removes is gone from all of the parent, its `cpu:` and `demo:` too.
    """
    changed = {
        key
        for layer in (child.base, child.cpu, child.demo)
        for key in (*layer.fixed, *layer.parameters, *layer.removed)
    }
    base, cpu, demo = (
        _without(layer, child.base.removed).outdated_by(changed)
        for layer in (parent.base, parent.cpu, parent.demo)
    )
    return Layers(
        base=base.under(child.base),
        cpu=cpu.under(child.cpu),
        demo=demo.under(child.demo),
        faults=(*parent.faults, *child.faults, *_vain_removals(child, parent)),
    )


def _without(layer: Layer, keys: frozenset[str]) -> Layer:
    searched = {key: p for key, p in layer.parameters.items() if key not in keys}
    return replace(layer, parameters=searched)


def _vain_removals(child: Layers, parent: Layers | None) -> list[Fault]:
    """Faults of `key: null` where nothing below searches the key."""
    below: dict[str, None] = {}
    if parent is not None:
        for layer in (parent.base, parent.cpu, parent.demo):
            below |= dict.fromkeys(layer.parameters)
    faults = []
    for layer in (child.base, child.cpu, child.demo):
        for key in sorted(layer.removed - below.keys()):
            near = get_close_matches(key, below, n=2, cutoff=0.5)
            if near:
                hint = f"did you mean {' or '.join(near)}?"
            elif below:
                hint = f"searched there: {', '.join(below)}"
            else:
                hint = "remove the line, or name a parent with extends: NAME"
            text = f"{key}: null takes a setting out of the search below, which has none such; "
            faults.append(layer.told("parameters", key, text + hint))
        below |= dict.fromkeys(layer.parameters)
    return faults
