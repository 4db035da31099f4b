"""The labels of a split, in whatever format they are: pages with their images, and faults."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from detector.core.errors import InputError
from detector.data.labels.formats import formats, label_files, recognised
from detector.data.labels.layout import Layout, dealt, layout_of, split_word
from detector.data.labels.pages import Entry, Fault, fault
from detector.data.raw.images import Images
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled, size_of


@dataclass(frozen=True)
class Source:
    """A dataset as its label files have it.

    layout: with the images of the split alone, where one was asked for.
    format: its name; None without label files.
    entries: pages with the paths of their images, by name.
    splits: the split of each page with an image, labelled or not.
    faults: of files and pages.
    """

    layout: Layout
    format: str | None
    entries: tuple[tuple[Entry, Path], ...]
    splits: dict[str, str]
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class _Said:
    """A page in the label file that says it."""

    page: Labelled
    file: LabelFile


def read_source(
    root: Path,
    format_name: str = "auto",
    *,
    split: str | None = None,
    given: Path | None = None,
) -> Source:
    """All pages of a dataset, or those of a split where folders tell the splits.

    `given` is a label file in the place of those in the folder.
    Raises InputError where the format cannot be told, and for a split that has no folder.
    """
    layout = layout_of(root)
    files = label_files(root) if given is None else [LabelFile(given, PurePosixPath(given.name))]
    images = layout.images
    if split is not None and layout.folders:
        if given is None:
            files, images = _of_split(layout, files, split)
        own = tuple(image for image in layout.images if layout.folder_of(image) == split)
        layout = replace(layout, images=own)  # others may have the same names
    if not files:
        return Source(layout, None, (), _splits(layout, {}), ())
    name, known = _chosen(root, files, format_name)
    others = set(files).difference(known)
    message = f"is no file of the format {name}"
    faults = [
        fault(str(file.name), None, "not-understood", message)
        for file in sorted(others, key=lambda f: f.name)
    ]
    said, found = _said(name, known)
    faults += found
    claimed, found = _claimed(layout, images, said)
    faults += found
    entries = []
    for image, one in sorted(claimed.items()):
        entry, found = _entry(layout.name_of(image), one.page)
        entries.append((entry, root / image))
        faults += found
    told = {image: split_word(_parts(one.file)) for image, one in claimed.items()}
    return Source(layout, name, tuple(entries), _splits(layout, told), tuple(faults))


def is_annotated(root: Path, split: str) -> bool:
    """Whether there is a file that may hold labels of a split."""
    layout, files = layout_of(root), label_files(root)
    return bool(_of_split(layout, files, split)[0] if layout.folders else files)


def _of_split(
    layout: Layout, files: Sequence[LabelFile], split: str
) -> tuple[list[LabelFile], tuple[PurePosixPath, ...]]:
    """The label files that may tell of a split, and the images that they may mean.

    Files that name the split in their path mean its own images. Without any, the files that
    name no other split tell of all images.
    """
    if split not in layout.folders:
        raise InputError(
            f"{layout.root / 'images'}: has no split '{split}'; "
            f"splits that exist: {', '.join(layout.folders)}"
        )
    own = [file for file in files if split in _parts(file)]
    if own:
        return own, tuple(image for image in layout.images if layout.folder_of(image) == split)
    named = set(layout.folders)
    return [file for file in files if not named & {*_parts(file)}], layout.images


def _chosen(root: Path, files: Sequence[LabelFile], name: str) -> tuple[str, list[LabelFile]]:
    if name == "auto":
        return recognised(root, files)
    format_ = formats().get(name)
    if format_ is None:
        raise InputError(f"data.format: must be auto, {', '.join(formats())}, got {name!r}")
    suffixed = [f for f in files if f.path.name.lower().endswith(tuple(format_.SUFFIXES))]
    if not suffixed:
        raise InputError(f"{root}: no file of the format {name} ({', '.join(format_.SUFFIXES)})")
    return name, suffixed


def _said(name: str, files: Iterable[LabelFile]) -> tuple[list[_Said], list[Fault]]:
    """What the files say, and those that as a whole cannot be understood."""
    said: list[_Said] = []
    faults = []
    for file in files:
        try:
            said += [_Said(page, file) for page in formats()[name].read(file)]
        except InputError as error:
            reason = str(error).removeprefix(f"{file.path}: ")
            faults.append(fault(str(file.name), None, "bad-label-file", reason))
    return said, faults


def _claimed(
    layout: Layout, inside: Sequence[PurePosixPath], said: Sequence[_Said]
) -> tuple[dict[PurePosixPath, _Said], list[Fault]]:
    """Each image of the layout that one page is about; the others as faults.

    inside: the images that the pages may mean, also of other splits.
    """
    images, own = Images(inside), {*layout.images}
    users: dict[PurePosixPath, list[_Said]] = defaultdict(list)
    faults = []
    for one in said:
        found = _found(images, one)
        if not found:
            name = one.page.image or str(one.file.name)
            faults.append(fault(name, None, "no-image", "no such image file"))
        for image in own.intersection(found):
            users[image].append(one)
            if len(found) > 1:
                names = ", ".join(layout.name_of(other) for other in found)
                message = f"{one.page.image} in {one.file.name} may mean {names}; say which"
                faults.append(fault(layout.name_of(image), None, "shared-label", message))
    claimed = {}
    for image, those in users.items():
        if len(those) > 1:
            files = " and ".join(dict.fromkeys(str(one.file.name) for one in those))
            message = f"its words stand {len(those)} times, in {files}; keep one"
            faults.append(fault(layout.name_of(image), None, "two-labels", message))
        elif len(_found(images, those[0])) == 1:
            claimed[image] = those[0]
            faults += _name_faults(layout.name_of(image), image, those[0])
    return claimed, faults


def _found(images: Images, one: _Said) -> list[PurePosixPath]:
    for reference in (one.page.image, *one.page.others):
        found = images.find(reference, one.file.name) if reference else []
        if found:
            return found
    return []


def _name_faults(name: str, image: PurePosixPath, one: _Said) -> list[Fault]:
    """Where the file's own name is another one but for Unicode form and capitals."""
    wanted = PurePosixPath(one.page.image).name
    alike = (
        unicodedata.normalize("NFC", wanted).lower()
        == unicodedata.normalize("NFC", image.name).lower()
    )
    if wanted == image.name or not alike:
        return []
    return [fault(name, None, "name-differs", f"the labels call it '{wanted}'")]


def _entry(name: str, page: Labelled) -> tuple[Entry, list[Fault]]:
    faults = [fault(name, word, kind, message) for word, kind, message in page.faults]
    faults += _left_out(name, page.left_out)
    words = page.words if page.labelled else None
    told = any(kind in ("bad-page", "bad-words") for _, kind, _ in page.faults)
    usable = not (words is None and told)
    size = page.size
    if size and all(isinstance(value, str) for value in size):  # as XML has all its numbers
        size = size_of(*size)
    return Entry(name, words, size, usable=usable, unit=page.unit), faults


def _left_out(name: str, counts: Counter[str]) -> list[Fault]:
    return [fault(name, None, "left-out", f"{count} of {what}") for what, count in counts.items()]


def _parts(file: LabelFile) -> tuple[str, ...]:
    """The folders of a label file and its name without suffixes."""
    return (*file.name.parts[:-1], file.name.name.partition(".")[0])


def _splits(layout: Layout, told: dict[PurePosixPath, str | None]) -> dict[str, str]:
    """The split of each page: by its folder, or by words in the names of folders and files."""
    if layout.folders:
        return {layout.name_of(p): layout.folder_of(p) or "" for p in layout.images}
    return dealt(
        {layout.name_of(p): split_word(p.parts[:-1]) or told.get(p) for p in layout.images}
    )
