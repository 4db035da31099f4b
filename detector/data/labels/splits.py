"""Which split the images of a dataset and its label files are of, and the parts of a split."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from detector.core.errors import InputError
from detector.data.labels.layout import Layout, dealt, split_word
from detector.data.labels.pages import Split
from detector.data.raw.label_file import LabelFile

_PART = re.compile(r"(.+)@(\d+)/(\d+)")
_PAGES_A_BLOCK, _MOST_BLOCKS = 8, 3  # of a part


def named_part(name: str) -> tuple[str, tuple[int, int] | None]:
    """The split that a name is of, and which part of how many: `train@2/5` is the second fifth.

    None for a whole split. InputError for a part that there is not.
    """
    found = _PART.fullmatch(name)
    if found is None:
        return name, None
    part, parts = int(found[2]), int(found[3])
    if not 1 <= part <= parts:
        raise InputError(
            f"split '{name}': SPLIT@PART/PARTS is a part from 1 to as many as there are, such as "
            f"{found[1]}@1/{max(parts, 2)}, got part {part} of {parts}"
        )
    return found[1], (part, parts)


def part_of(split: Split, name: str, part: int, parts: int) -> Split:
    """One of several parts of a split that have no page in common, called `name`.

    Pages are dealt in the order of their names, in up to three blocks a part: neighbours, which may
    be photographs of one receipt, stay together, and each part has pages from all over the split,
    as in `detector.postprocess.sweep_scores.second_half`. InputError for fewer pages than parts.
    """
    pages = len(split.pages)
    if pages < parts:
        raise InputError(
            f"split '{name}': {pages} usable pages make no {parts} parts; ask for fewer"
        )
    blocks = parts * min(max(1, pages // (_PAGES_A_BLOCK * parts)), _MOST_BLOCKS)
    own = (page for i, page in enumerate(split.pages) if i * blocks // pages % parts == part - 1)
    return replace(split, name=name, pages=tuple(own))


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
