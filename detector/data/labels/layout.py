"""Where the images of a dataset lie: its splits by folders, by names, or dealt by a hash."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from detector.core.errors import InputError
from detector.data.page.images import IMAGE_SUFFIXES, pages_of
from detector.data.page.pdf import file_of
from detector.data.raw.page_names import normal

_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
#: One page in so many is for validation where nobody has said which.
VAL_ONE_IN = 5


@dataclass(frozen=True)
class Layout:
    """The images below a dataset's folder.

    files: the paths of all files below `root`, hidden ones left out, sorted.
    images: those of images, sorted; pages of a PDF of several each, in their order.
    folders: the split folders of `images/`, where that is how they lie; else empty.
    """

    root: Path
    files: tuple[PurePosixPath, ...]
    images: tuple[PurePosixPath, ...]
    folders: tuple[str, ...] = ()

    def folder_of(self, image: PurePosixPath) -> str | None:
        """The split whose folder an image lies in."""
        named = len(image.parts) > 2 and image.parts[0] == "images" and bool(self.folders)
        return image.parts[1] if named else None

    def name_of(self, image: PurePosixPath) -> str:
        """What the page is called: its path below its split's folder, else below the dataset's.

        In Unicode form C, in which most programs write Hangul, while a Mac's archives decompose it.
        """
        parts = image.parts[2:] if self.folder_of(image) else image.parts
        return normal("/".join(parts))


def layout_of(root: Path) -> Layout:
    """How a dataset lies; InputError when there is no such folder or no image in it.

    `ROOT/images/SPLIT/` counts where `ROOT/images` holds folders and no images itself, or folders
    that are called as splits are.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such dataset folder; set data.root to one with images")
    files = tuple(sorted(files_below(root)))
    names = (name for name in files if name.suffix.lower() in IMAGE_SUFFIXES)
    images = tuple(
        name.with_name(page.name)
        for name in names
        if (root / name).is_file()
        for page in pages_of(root / name)
    )
    base = root / "images"
    folders = sorted(p.name for p in base.glob("*") if p.is_dir() and not p.name.startswith("."))
    within = [p for p in images if p.parts[0] == "images"]
    if _WORDS.keys() & folders or (folders and all(len(p.parts) > 2 for p in within)):
        return Layout(root, files, tuple(p for p in within if len(p.parts) > 2), tuple(folders))
    if not images:
        raise InputError(
            f"{root}: holds no image ({', '.join(IMAGE_SUFFIXES)}), nor folders "
            "such as images/train and images/val"
        )
    return Layout(root, files, images)


def files_below(root: Path) -> Iterator[PurePosixPath]:
    """The paths of all files below a folder, from there; hidden ones are left out.

    Links to folders are followed, but not back to a folder that they lie in. InputError for a
    folder that cannot be listed.
    """
    return _walked(root, PurePosixPath(), frozenset())


def _walked(folder: Path, name: PurePosixPath, above: frozenset[str]) -> Iterator[PurePosixPath]:
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = [entry for entry in os.scandir(folder) if not _is_hidden(entry.name)]
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be listed: {error.strerror}; change its access rights"
        ) from None
    for entry in entries:
        if Path(entry).is_dir():  # False for links in a circle, where entry.is_dir() raises
            yield from _walked(folder / entry.name, name / entry.name, above | {real})
        else:
            yield name / entry.name


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "lost+found"  # which disks have at their top


def split_word(parts: Iterable[str]) -> str | None:
    """The split that names of folders or files tell of, the last one first: train, val or test.

    A name that has words of two (`train_val`) tells of neither.
    """
    for part in reversed([*parts]):
        words = {_WORDS[word] for word in re.findall(r"[a-z]+", part.lower()) if word in _WORDS}
        if len(words) == 1:
            return words.pop()
    return None


def standing_for(split: str | None, existing: Collection[str]) -> str | None:
    """The split to read for the one asked for: itself, or the only one that another word names.

    Without one for validation that is the one for training (see `is_dealt`). A split that does
    not exist stays as it is.
    """
    if split is None or split in existing:
        return split
    word = _WORDS.get(split.lower())
    for wanted in (word, "train") if word == "val" else (word,):
        same = [own for own in existing if wanted and split_word([own]) == wanted]
        if same:
            return same[0] if len(same) == 1 else split
    return split


def is_dealt(asked: str | None, split: str | None) -> bool:
    """Whether pages for validation come from the split for training, which stands for it."""
    return _WORDS.get((asked or "").lower()) == "val" and split_word([split or ""]) == "train"


def dealt(told: Mapping[str, str | None]) -> dict[str, str]:
    """The split of each page by its name: as told, else dealt between train and val.

    A page goes by a hash of its name, so one that is added moves no other; pages of a PDF go by its
    own, as what they show is much alike. Where there is a validation split, pages of which nothing
    is told are for training; where there is none, one page in VAL_ONE_IN of those for training
    becomes it, and at least one.
    """
    splits = {name: split or "train" for name, split in told.items()}
    pool = sorted((_hash(name), name) for name, split in splits.items() if split == "train")
    if "val" not in splits.values() and len(pool) > 1:
        chosen = [name for number, name in pool if number % VAL_ONE_IN == 0]
        chosen = chosen[: len(pool) - 1] or [pool[0][1]]
        splits |= dict.fromkeys(chosen, "val")
    return splits


def _hash(name: str) -> int:
    file = str(file_of(PurePosixPath(name)))
    return int.from_bytes(hashlib.blake2b(file.encode(), digest_size=8).digest(), "big")
