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
    of_format,
    recognised,
    require_readable,
)
from detector.data.labels.layout import Layout, dealt, layout_of, split_word
from detector.data.labels.pages import Entry, Fault, fault
from detector.data.page.images import IMAGE_SUFFIXES
from detector.data.page.pdf import file_of
from detector.data.raw.images import Images
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled, size_of
from detector.data.raw.page_names import normal


@dataclass(frozen=True)
class Source:
    """The pages of a split, or of all, as label files have them.

    format: its name; None without label files.
    entries: pages with the paths of their images, by path.
    unlabelled: pages of which no label file says anything, in the same way.
    splits: the names of the pages of each split of the dataset.
    faults: of files and pages.
    """

    format: str | None
    entries: tuple[tuple[Entry, Path], ...]
    unlabelled: tuple[tuple[Entry, Path], ...]
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

    `given` is a label file in the place of those in the folder. Raises InputError where the
    format cannot be told, and for a split that does not exist.
    """
    layout = layout_of(root)
    files, images = label_files(root, layout.files), layout.images
    if given is not None:
        files = [LabelFile(given, PurePosixPath(given.name))]
    elif split is not None and layout.folders:
        files, images = _of_split(layout, files, split)
    name, known = _chosen(root, files, format_name)
    said, faults = _said(name, known, Images(images))
    faults += _not_understood(name, set(files).difference(known))
    users: dict[PurePosixPath, list[_Said]] = defaultdict(list)
    for one in said:
        for image in one.images:
            users[image].append(one)
    splits = _splits(layout, users)
    if split is not None and split not in {*layout.folders, *splits.values()}:
        raise _no_split(root, split, splits.values())
    entries, unlabelled = [], []
    for image in layout.images:
        if split is not None and splits[image] != split:
            continue
        if image not in users:
            unlabelled.append((Entry(layout.name_of(image), None), root / image))
            continue
        entry, found = _entry(layout, image, users[image])
        faults += found
        if entry is not None:
            entries.append((entry, root / image))
    return Source(name, tuple(entries), tuple(unlabelled), _names(layout, splits), tuple(faults))


def is_annotated(root: Path, split: str) -> bool:
    """Whether there is a file that may hold labels of a split."""
    layout = layout_of(root)
    files = label_files(root, layout.files)
    return bool(_of_split(layout, files, split)[0] if layout.folders else files)


def _no_split(place: Path, split: str, existing: Iterable[str]) -> InputError:
    names = ", ".join(sorted({*existing}))
    return InputError(f"{place}: has no split '{split}'; splits that exist: {names}")


def _of_split(
    layout: Layout, files: Sequence[LabelFile], split: str
) -> tuple[list[LabelFile], tuple[PurePosixPath, ...]]:
    """The label files that may tell of a split, and the images that they may mean.

    Files that name the split in their path mean its own images. Without any, the files that
    name no other split tell of all images.
    """
    if split not in layout.folders:
        raise _no_split(layout.root / "images", split, layout.folders)
    named = {file: _named_splits(layout, file) for file in files}
    own = [file for file in files if split in named[file]]
    if own:
        return own, tuple(image for image in layout.images if layout.folder_of(image) == split)
    return [file for file in files if not named[file]], layout.images


def _named_splits(layout: Layout, file: LabelFile) -> set[str]:
    """The split folders that a label file's path names, as they stand or by the same word."""
    parts = _parts(file)
    exact = {*layout.folders}.intersection(parts)
    word = split_word(parts)
    return exact or {own for own in layout.folders if word and split_word([own]) == word}


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
    name: str | None, files: Iterable[LabelFile], images: Images
) -> tuple[list[_Said], list[Fault]]:
    """What the files say; faults for those that cannot be understood and images not found."""
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
                faults.append(_no_image(page, file))
    return said, faults


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


def _no_image(page: Labelled, file: LabelFile) -> Fault:
    """The fault of a page without an image, under the name that its label file gives it."""
    image = PurePosixPath(page.image)
    if image.name in ("", file.name.with_suffix("").name):
        return fault(str(file.name), None, "no-image", "no image has the name of this label file")
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


def _parts(file: LabelFile) -> tuple[str, ...]:
    """The folders of a label file and its name without suffixes."""
    return (*file.name.parts[:-1], file.name.name.partition(".")[0])


def _splits(
    layout: Layout, users: Mapping[PurePosixPath, Sequence[_Said]]
) -> dict[PurePosixPath, str]:
    """The split of each image: by its folder, or by words in the names of folders and files."""
    if layout.folders:
        return {image: layout.folder_of(image) or "" for image in layout.images}
    told = {}
    for image in layout.images:
        files = [one.file for one in users.get(image, ())]
        word = split_word(_parts(files[0])) if files else None
        told[layout.name_of(image)] = split_word(image.parts[:-1]) or word
    splits = dealt(told)
    return {image: splits[layout.name_of(image)] for image in layout.images}


def _names(layout: Layout, splits: Mapping[PurePosixPath, str]) -> dict[str, frozenset[str]]:
    names = defaultdict(set)
    for image, split in splits.items():
        names[split].add(layout.name_of(image))
    return {split: frozenset(own) for split, own in names.items()}
