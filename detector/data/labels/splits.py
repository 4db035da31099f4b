"""Which split the images of a dataset and its label files are of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from detector.core.errors import InputError
from detector.data.labels.layout import Layout, dealt, split_word
from detector.data.raw.label_file import LabelFile


def splits_of(
    layout: Layout, labels: Mapping[PurePosixPath, LabelFile]
) -> dict[PurePosixPath, str]:
    """The split of each image: by its folder, or by words in the names of folders and files.

    labels: of images, the file that tells of each.
    """
    if layout.folders:
        return {image: layout.folder_of(image) or "" for image in layout.images}
    told = {}
    for image in layout.images:
        word = split_word(_parts(labels[image])) if image in labels else None
        told[layout.name_of(image)] = split_word(image.parts[:-1]) or word
    splits = dealt(told)
    return {image: splits[layout.name_of(image)] for image in layout.images}


def names_of(layout: Layout, splits: Mapping[PurePosixPath, str]) -> dict[str, frozenset[str]]:
    """The names of the pages of each split."""
    names = defaultdict(set)
    for image, split in splits.items():
        names[split].add(layout.name_of(image))
    return {split: frozenset(own) for split, own in names.items()}


def files_of_split(
    layout: Layout, files: Sequence[LabelFile], split: str
) -> tuple[list[LabelFile], tuple[PurePosixPath, ...]]:
    """The label files that may tell of a split, and the images that they may mean.

    Files that name the split in their path mean its own images. Without any, the files that
    name no other split tell of all images.
    """
    if split not in layout.folders:
        raise no_split(layout.root / "images", split, layout.folders)
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


def dealt_from(layout: Layout, images: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Those of the images for training that are for validation too; an only one is."""
    splits = dealt({layout.name_of(image): None for image in images})
    if len(splits) == 1:
        return [*images]
    return [image for image in images if splits[layout.name_of(image)] == "val"]


def no_split(place: Path, split: str, existing: Iterable[str]) -> InputError:
    """What to raise for a split that does not exist."""
    names = ", ".join(sorted({*existing}))
    return InputError(f"{place}: has no split '{split}'; splits that exist: {names}")


def _parts(file: LabelFile) -> tuple[str, ...]:
    """The folders of a label file and its name without suffixes."""
    return (*file.name.parts[:-1], file.name.name.partition(".")[0])
