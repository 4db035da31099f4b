"""Where the images of a dataset lie: its splits by folders, by names, or dealt by a hash."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from detector.core.errors import InputError
from detector.data.page.images import IMAGE_SUFFIXES

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

    images: their paths below `root`, sorted.
    folders: the split folders of `images/`, where that is how they lie; else empty.
    """

    root: Path
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
        return unicodedata.normalize("NFC", "/".join(parts))


def layout_of(root: Path) -> Layout:
    """How a dataset lies; InputError when there is no such folder or no image in it.

    `ROOT/images/SPLIT/` counts where `ROOT/images` holds folders and no images itself.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such dataset folder; set data.root to one with images")
    images = tuple(sorted(_images(root)))
    base = root / "images"
    folders = sorted(p.name for p in base.glob("*") if p.is_dir() and not p.name.startswith("."))
    if folders and not any(p.parts[0] == "images" and len(p.parts) == 2 for p in images):
        inside = tuple(p for p in images if p.parts[0] == "images")
        return Layout(root, inside, tuple(folders))
    if not images:
        raise InputError(
            f"{root}: holds no image ({', '.join(IMAGE_SUFFIXES)}), nor folders in images/"
        )
    return Layout(root, images)


def _images(root: Path) -> Iterable[PurePosixPath]:
    for path in root.rglob("*"):
        name = PurePosixPath(path.relative_to(root).as_posix())
        hidden = any(part.startswith(".") for part in name.parts)
        if path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file():
            yield name


def split_word(parts: Iterable[str]) -> str | None:
    """The split that names of folders or files tell of, the last one first: train, val or test."""
    for part in reversed([*parts]):
        for word in re.findall(r"[a-z]+", part.lower()):
            if word in _WORDS:
                return _WORDS[word]
    return None


def dealt(told: Mapping[str, str | None]) -> dict[str, str]:
    """The split of each page by its name: as told, else dealt between train and val.

    A page goes by a hash of its name, so one that is added moves no other. Where there is a
    validation split, pages of which nothing is told are for training; where there is none, one
    page in VAL_ONE_IN of those for training becomes it, and at least one.
    """
    splits = {name: split or "train" for name, split in told.items()}
    pool = sorted((_hash(name), name) for name, split in splits.items() if split == "train")
    if "val" not in splits.values() and len(pool) > 1:
        chosen = [name for number, name in pool if number % VAL_ONE_IN == 0]
        chosen = chosen[: len(pool) - 1] or [pool[0][1]]
        splits |= dict.fromkeys(chosen, "val")
    return splits


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
