"""The formats of labels, found by the names of their modules, and which of them a folder holds."""

from __future__ import annotations

import fnmatch
import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Protocol, cast

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.labels.layout import files_below
from detector.data.labels.line_layouts import LAYOUTS, line_layout
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled

# Beside labels in many folders, and none themselves.
_ASIDE = ("readme*", "license*", "classes.txt", "*.md")
# What files of pages without words may hold.
_BLANK = ("", "{}", "[]")
# Of the content of files; what is made of it takes about ten times as much memory.
_KEPT_BYTES = 32 * 2**20


class Format(Protocol):
    """What a module below `detector.data.formats` has; its name is that of the format.

    SUFFIXES: of its label files, in small letters.
    ASIDE: patterns of the names of files that come with the labels and are none. Optional.
    OVER: names of more general formats that also claim its files, and yield to it. Optional.
    claims: whether a file is of this format; an InputError means that it is not.
    read: the images of a file with their words. An InputError excludes the file.

    A format that can be written has also
    FOLDER: true where it is several files. Optional.
    write: `(pages, output, root)`, the paths and texts of the label files of pages. Each page is
        one as `read` yields it, in pixels, with all it can have; its image lies below `root`. What
        there is no place for is counted in its `left_out`. `output` is the file or folder.
    """

    SUFFIXES: tuple[str, ...]

    def claims(self, file: LabelFile) -> bool: ...

    def read(self, file: LabelFile) -> Iterator[Labelled]: ...


@cache
def formats() -> Mapping[str, Format]:
    """Every format by its name, sorted."""
    package = importlib.import_module("detector.data.formats")
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = [module.name for module in found if not module.ispkg]
    modules = {name.rpartition(".")[2]: importlib.import_module(name) for name in names}
    return {name: cast(Format, modules[name]) for name in sorted(modules)}


def label_files(root: Path, names: Iterable[PurePosixPath] | None = None) -> list[LabelFile]:
    """The files below a folder that may hold labels, by path; hidden ones are left out.

    `names` are those of its files where they have been listed already.
    """
    names = files_below(root) if names is None else names
    return [LabelFile(root / name, name) for name in sorted(names) if may_hold_labels(name)]


def may_hold_labels(name: PurePosixPath) -> bool:
    """Whether a file of that name may, which is neither hidden nor known to be of another kind."""
    suffixes, aside = _patterns()
    if any(part.startswith(".") for part in name.parts):
        return False
    return name.name.lower().endswith(suffixes) and not any(_named(name, p) for p in aside)


@cache
def _patterns() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The suffixes of label files, and the names of files beside them."""
    suffixes = {suffix for format_ in formats().values() for suffix in format_.SUFFIXES}
    aside = (pattern for f in formats().values() for pattern in getattr(f, "ASIDE", ()))
    return tuple(suffixes), (*_ASIDE, *aside)


def _named(name: PurePosixPath, pattern: str) -> bool:
    path, wanted = (f"/{name}", f"*/{pattern}") if "/" in pattern else (name.name, pattern)
    return fnmatch.fnmatchcase(path.lower(), wanted.lower())


def claimants(file: LabelFile) -> set[str]:
    """The formats that a file may be of, without those that yield to another of them."""
    return _surest(_claimants(file))


def _claimants(file: LabelFile) -> set[str]:
    return {name for name, format_ in formats().items() if _is_claimed(file, format_)}


def _surest(names: set[str]) -> set[str]:
    return names - {over for name in names for over in getattr(formats()[name], "OVER", ())}


def _is_claimed(file: LabelFile, format_: Format) -> bool:
    try:
        return is_suffixed(file, format_) and format_.claims(file)
    except InputError:
        return False


def is_suffixed(file: LabelFile, format_: Format) -> bool:
    """Whether the name of a file ends as those of a format do."""
    return file.path.name.lower().endswith(tuple(format_.SUFFIXES))


@dataclass(frozen=True)
class _Claims:
    """The formats that a file may be of, and whether it says anything."""

    names: frozenset[str]
    telling: bool

    @property
    def surest(self) -> set[str]:
        return _surest({*self.names})


def _all_claims(files: Sequence[LabelFile]) -> dict[LabelFile, _Claims]:
    """Those of each file that some format claims.

    What was read of these is kept for their reader while there is room, of one file alone always.
    """
    claims, room = {}, _KEPT_BYTES
    for file in files:
        names = _claimants(file)
        if names:
            telling = file.text.strip("\ufeff").strip() not in _BLANK
            claims[file] = _Claims(frozenset(names), telling)
            room -= len(file.content)
        if not names or (room < 0 and len(files) > 1):
            file.forget()
    return claims


def recognised(root: Path, files: Sequence[LabelFile]) -> tuple[str, list[LabelFile]]:
    """The one format of the label files of a folder, and the files that are of it.

    Blank files are pages without words in many formats, so the others decide; with none
    but such files any of their formats will do. InputError, with what was found, for no format,
    for several, and where it cannot be told.
    """
    known = _all_claims(files)
    if not known:
        for file in files:
            require_readable(file)
        raise InputError(
            f"{root}: no labels in a format that is known ({_seen(files)}); the formats are "
            f"{', '.join(formats())}"
        )
    telling = [claims.surest for claims in known.values() if claims.telling]
    common = set.intersection(*(telling or [claims.surest for claims in known.values()]))
    if len(common) == 1 or (common and not telling):
        name = min(common)
        return name, [file for file, claims in known.items() if name in claims.names]
    if common:
        raise InputError(
            f"{root}: its labels may be {' or '.join(sorted(common))}; say which, as in "
            f"data.format={min(common)}"
        )
    counts = Counter(" or ".join(sorted(names)) for names in telling)
    told = ", ".join(f"{count} files of {name}" for name, count in counts.most_common())
    raise InputError(
        f"{root}: holds labels of several formats ({told}); say which count, as in "
        f"data.format={min(map(min, telling))}"
    )


def of_format(root: Path, files: Sequence[LabelFile], name: str) -> list[LabelFile]:
    """The files of a format that is said: those that it claims, and those of its suffixes that no
    other does. InputError for a name of none, and without such files."""
    format_ = formats().get(name)
    if format_ is None:
        raise InputError(f"data.format: must be auto, {', '.join(formats())}, got {shown(name)}")
    suffixed = [file for file in files if is_suffixed(file, format_)]
    claims = _all_claims(suffixed)
    found = [file for file in suffixed if file not in claims or name in claims[file].names]
    if not found:
        raise InputError(
            f"{root}: no file of the format {name} ({', '.join(format_.SUFFIXES)}); "
            "give another data.format, or auto"
        )
    return found


def require_readable(file: LabelFile) -> None:
    """Raise the InputError of a file that is not what its name says, with the place in it."""
    suffix = file.path.suffix.lower()
    if suffix == ".json":
        _ = file.json
    elif suffix == ".xml":
        _ = file.xml
    else:
        _ = file.text


def _seen(files: Sequence[LabelFile]) -> str:
    """What files of no format are: the first whose lines have a layout, else their names."""
    for file in files:
        try:
            number, line = next(iter(file.lines), (0, ""))
        except InputError:
            continue
        if layout := line_layout(line):
            return (
                f"line {number} of {file.name} looks like {layout}; known are lines "
                + "; ".join(LAYOUTS)
            )
    return "; ".join(map(_outside, files[:3])) or "no file that could hold any"


def _outside(file: LabelFile) -> str:
    """A file by its name and, of JSON, what it holds at its top."""
    if file.path.suffix.lower() != ".json":
        return str(file.name)
    value = file.json
    keys = sorted(map(shown, value))[:8] if isinstance(value, dict) else []
    if isinstance(value, dict):
        return f"{file.name} with the keys {', '.join(keys) or 'none'}"
    return f"{file.name} holding {shown(value)}"
