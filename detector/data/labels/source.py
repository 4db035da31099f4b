"""The labels of a split, in whatever format they are: pages with their images, and faults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from detector.core.errors import InputError
from detector.data.labels.formats import (
    formats,
    label_files,
    may_hold_labels,
    of_format,
    recognised,
    require_readable,
)
from detector.data.labels.layout import Layout, is_dealt, layout_of, standing_for
from detector.data.labels.pages import Entry, Fault, fault
from detector.data.labels.splits import (
    dealt_from,
    files_of_split,
    named_part,
    names_of,
    no_split,
    splits_of,
)
from detector.data.page.images import IMAGE_SUFFIXES
from detector.data.page.images import KINDS as IMAGE_KINDS
from detector.data.page.pdf import file_of
from detector.data.raw.images import Images
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled, size_of
from detector.data.raw.page_names import normal

_Entries = tuple[tuple[Entry, Path], ...]


@dataclass(frozen=True)
class Source:
    """The pages of a split, or of all, as label files have them.

    split: its name in the dataset, where it is not called as it was asked for; None for all.
    format: its name; None without label files.
    entries: pages with the paths of their images, by path.
    unlabelled: pages of which no label file says anything, in the same way.
    splits: the names of the pages of each split of the dataset.
    faults: of files and pages.
    """

    split: str | None
    format: str | None
    entries: _Entries
    unlabelled: _Entries
    splits: dict[str, frozenset[str]]
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class _Said:
    """A page in the label file that says it, and the images that it may mean."""

    page: Labelled
    file: LabelFile
    images: Sequence[PurePosixPath]


def read_source(
    root: Path,
    format_name: str = "auto",
    *,
    split: str | None = None,
    given: Path | None = None,
) -> Source:
    """The pages of a split of a dataset, or all.

    A split may be asked for by another word for it, such as `val` for `valid`. For validation pages
    are dealt from those for training where it has none of its own (see `layout.dealt`); all of them
    are for training as well. `given` is a label file in the place of those in the folder. Raises
    InputError where the format cannot be told, and for a split that does not exist.
    """
    layout, asked = layout_of(root), split
    if layout.folders:
        split = standing_for(asked, layout.folders)
    files, images = label_files(root, layout.files), layout.images
    if given is not None:
        files = [LabelFile(given, PurePosixPath(given.name))]
    elif split is not None and layout.folders:
        files, images = files_of_split(layout, files, split)
    name, known = _chosen(root, files, format_name)
    said, faults = _said(name, known, Images(images), _of_other_kinds(layout))
    faults += _not_understood(name, set(files).difference(known))
    users: dict[PurePosixPath, list[_Said]] = defaultdict(list)
    for one in said:
        for image in one.images:
            users[image].append(one)
    splits = splits_of(layout, {image: own[0].file for image, own in users.items()})
    split = standing_for(asked, {*layout.folders, *splits.values()})
    if split is not None and split not in {*layout.folders, *splits.values()}:
        raise no_split(root, split, splits.values())
    wanted = [image for image in layout.images if split in (None, splits[image])]
    if is_dealt(asked, split):
        wanted = dealt_from(layout, wanted)
    entries, unlabelled, found = _entries(layout, wanted, users)
    return Source(
        split=split,
        format=name,
        entries=entries,
        unlabelled=unlabelled,
        splits=names_of(layout, splits),
        faults=(*faults, *found),
    )


def _entries(
    layout: Layout,
    images: Iterable[PurePosixPath],
    users: Mapping[PurePosixPath, Sequence[_Said]],
) -> tuple[_Entries, _Entries, list[Fault]]:
    """The pages that labels tell of and those that none does, with their images, and faults."""
    entries, unlabelled, faults = [], [], []
    for image in images:
        path = layout.root / image
        if image not in users:
            unlabelled.append((Entry(layout.name_of(image), None), path))
            continue
        entry, found = _entry(layout, image, users[image])
        faults += found
        if entry is not None:
            entries.append((entry, path))
    return tuple(entries), tuple(unlabelled), faults


def is_annotated(root: Path, split: str) -> bool:
    """Whether there is a file that may hold labels of a split."""
    layout = layout_of(root)
    while (part := named_part(split))[1] is not None:
        split = part[0]
    split = standing_for(split, layout.folders) or split
    files = label_files(root, layout.files)
    return bool(files_of_split(layout, files, split)[0] if layout.folders else files)


def _chosen(
    root: Path, files: Sequence[LabelFile], name: str
) -> tuple[str | None, list[LabelFile]]:
    if not files:
        return None, []
    return recognised(root, files) if name == "auto" else (name, of_format(root, files, name))


def _not_understood(name: str | None, files: Iterable[LabelFile]) -> list[Fault]:
    """A fault for each file that is not of the format."""
    faults = []
    for file in sorted(files, key=lambda file: file.name):
        kind, message = "not-understood", f"is no file of the format {name}"
        try:
            require_readable(file)
        except InputError as error:
            kind, message = "bad-label-file", _reason(file, error)
        file.forget()
        faults.append(fault(str(file.name), None, kind, message))
    return faults


def _reason(file: LabelFile, error: InputError) -> str:
    return str(error).removeprefix(f"{file.path}: ")


def _said(
    name: str | None,
    files: Iterable[LabelFile],
    images: Images,
    others: Mapping[str, PurePosixPath],
) -> tuple[list[_Said], list[Fault]]:
    """What the files say; faults for those that cannot be understood and images not found.

    `others` are the files of other kinds, by their stems.
    """
    said: list[_Said] = []
    faults = []
    for file in files:
        try:
            pages = [*formats()[name or ""].read(file)]
        except InputError as error:
            faults.append(fault(str(file.name), None, "bad-label-file", _reason(file, error)))
            continue
        finally:
            file.forget()
        for page in pages:
            found = _found(images, page, file)
            said.append(_Said(page, file, found))
            if not found:
                faults.append(_no_image(page, file, others))
    return said, faults


def _of_other_kinds(layout: Layout) -> dict[str, PurePosixPath]:
    """The files that are no images of a kind that is read and hold no labels, by their stems."""
    others = (name for name in layout.files if name.suffix.lower() not in IMAGE_SUFFIXES)
    return {normal(name.stem): name for name in others if not may_hold_labels(name)}


def _found(images: Images, page: Labelled, file: LabelFile) -> list[PurePosixPath]:
    """The images that a page may mean; all of a PDF where none of its names says which."""
    whole: list[PurePosixPath] = []
    for reference in (page.image, *page.others):
        found = images.find(reference, file.name) if reference else []
        if len(set(map(file_of, found))) < len(found):
            whole = whole or found
        elif found:
            return found
    return whole


def _no_image(page: Labelled, file: LabelFile, others: Mapping[str, PurePosixPath]) -> Fault:
    """The fault of a page without an image, under the name that its label file gives it."""
    image = PurePosixPath(page.image)
    if image.name in ("", file.name.with_suffix("").name):
        message = "no image has the name of this label file"
        stems = [normal(PurePosixPath(name).name) for name in (page.image, *page.others)]
        if other := next((others[stem] for stem in stems if stem in others), None):
            message += f"; {other} is not of a kind that is read here ({IMAGE_KINDS})"
        return fault(str(file.name), None, "no-image", message)
    message = f"{file.name} names no image file of the dataset"
    if image.suffix[1:].isalpha() and image.suffix.lower() not in IMAGE_SUFFIXES:
        message += f"; the suffix must be one of {', '.join(IMAGE_SUFFIXES)}"
    return fault(page.image, None, "no-image", message)


def _entry(
    layout: Layout, image: PurePosixPath, said: Sequence[_Said]
) -> tuple[Entry | None, list[Fault]]:
    """The page that an image is; None, with a fault, where that is not certain."""
    name, one = layout.name_of(image), said[0]
    if len(said) > 1:
        files = " and ".join(dict.fromkeys(str(one.file.name) for one in said))
        message = f"its words stand {len(said)} times, in {files}; keep one"
        return None, [fault(name, None, "two-labels", message)]
    if len(one.images) > 1:
        names = ", ".join(layout.name_of(other) for other in one.images)
        message = f"{one.page.image} in {one.file.name} may mean {names}; say which"
        return None, [fault(name, None, "shared-label", message)]
    page = one.page
    faults = _name_faults(name, image, page)
    faults += [fault(name, word, kind, message) for word, kind, message in page.faults]
    faults += [fault(name, None, "left-out", f"{n} of {what}") for what, n in page.left_out.items()]
    words = page.words if page.labelled else None
    told = any(kind in ("bad-page", "bad-words") for _, kind, _ in page.faults)
    usable = not (words is None and told)
    size = page.size
    if size and all(isinstance(value, str) for value in size):  # as XML has all its numbers
        size = size_of(*size)
    return Entry(name, words, size, usable=usable, unit=page.unit), faults


def _name_faults(name: str, image: PurePosixPath, page: Labelled) -> list[Fault]:
    """Where the file's own name is another one but for Unicode form and capitals."""
    wanted = PurePosixPath(page.image).name
    alike = normal(wanted).lower() == normal(image.name).lower()
    if wanted == image.name or not alike:
        return []
    return [fault(name, None, "name-differs", f"the labels call it '{wanted}'")]
