"""Reading a split: annotations matched to images, checked page by page and word by word."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from detector.core.commands import command
from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.labels.competition import read_json
from detector.data.labels.exclusion import ExclusionList, read_exclusions
from detector.data.labels.icdar import read_labels
from detector.data.labels.pages import KINDS, Entry, Fault, Page, Split, Word, evenly_spaced, fault
from detector.data.labels.trained import WordSizes, untrained
from detector.data.labels.words import check_words, refuse_fractions
from detector.data.page.images import (
    IMAGE_SUFFIXES,
    TooLargeError,
    image_size,
    list_images,
    read_image,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "KINDS",
    "Fault",
    "Page",
    "Split",
    "Word",
    "list_images",
    "list_splits",
    "read_image",
    "read_split",
    "require_words",
    "scan_split",
]

_LAYOUT = "ROOT/images/SPLIT/ with ROOT/jsons/SPLIT.json or ROOT/labels/SPLIT/*.txt"


def read_split(
    root: Path,
    split: str,
    *,
    limit: int | None = None,
    labelled: bool = True,
    exclude: Path | None = None,
) -> Split:
    """The usable pages of a split, evenly thinned to `limit`, and the faults of all of it.

    Reads `ROOT/images/SPLIT/` with `ROOT/jsons/SPLIT.json` (the competition's) or
    `ROOT/labels/SPLIT/*.txt` (ICDAR's). `labelled=False` also takes pages without
    annotation, without words then, and needs no annotation file. Only image headers are
    read; broken pixels show in `read_image`. `exclude` is a reviewed list of words
    (`detector.data.labels.exclusion`). Raises InputError when a folder or file is missing or not
    as it should be, when the list names what is not there, and when no page is usable.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit: must be at least 1 page, got {limit}")
    scanned = scan_split(root, split, labelled=labelled, exclude=exclude)
    if not scanned.pages:
        kinds = Counter(f.kind for f in scanned.faults if KINDS[f.kind] == "page excluded")
        reasons = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        raise InputError(
            f"{root / 'images' / split}: no usable page in split '{split}' "
            f"({reasons or 'no image in the folder'}); "
            f"`{command('detector.inspect', {'data.root': root, 'data.split': split})}` "
            "lists the faults"
        )
    if limit is None:
        return scanned
    return replace(scanned, pages=tuple(evenly_spaced(scanned.pages, limit)))


def require_words(split: Split, root: Path, sizes: WordSizes | None = None) -> None:
    """Raise InputError when no page of the split has a word that counts: nothing to learn by.

    With `sizes` those of a training, in which too thin words do not count either.
    """
    words = [word for page in split.pages for word in page.words]
    if not words:
        raise InputError(
            f"{root}: split {split.name!r} has no word on any page, so there is nothing to learn "
            "or to score; annotate some words"
        )
    if all(word.ignore for word in words):
        raise InputError(
            f"{root}: split {split.name!r}: all of its {len(words)} words are don't-care (ignore: "
            "true, or ### as their text), so there is nothing to learn or to score; where labels "
            "have no texts, leave the text out, or give each word another one than ###"
        )
    told = None if sizes is None else untrained(split, sizes)
    if told is not None and told.words == told.of:
        raise InputError(f"{root}: split {split.name!r}: no word can be trained on: {told.reasons}")


def scan_split(
    root: Path, split: str, *, labelled: bool = True, exclude: Path | None = None
) -> Split:
    """As `read_split`, but all pages, and a split without a usable page is returned."""
    images = list_images(_image_folder(root, split))
    entries, faults = _annotations(root, split, images, labelled=labelled)
    refuse_fractions(root / "images" / split, (entry.words or {} for entry in entries))
    listed = _exclusions(root, split, entries, exclude)
    matched, found = _match(entries, images, labelled=labelled)
    faults += found
    pages = []
    for entry, path in matched:
        page, found = _page(entry, path, labelled=labelled)
        faults += found
        if page is not None and listed is not None:
            page, found = listed.apply(split, page)
            faults += found
        if page is not None:
            pages.append(page)
    pages.sort(key=lambda page: page.name)
    faults.sort(key=lambda f: (f.file, f.word or ""))
    return Split(split, tuple(pages), tuple(faults))


def list_splits(root: Path) -> list[str]:
    """Names of the folders in `ROOT/images`, sorted; InputError when the layout is not there."""
    if not root.is_dir():
        raise InputError(f"{root}: no such dataset folder; set data.root to {_LAYOUT}")
    if not (root / "images").is_dir():
        raise InputError(f"{root}: has no folder 'images'; the layout is {_LAYOUT}")
    return sorted(
        path.name
        for path in (root / "images").iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )


def _image_folder(root: Path, split: str) -> Path:
    splits = list_splits(root)
    if split not in splits:
        raise InputError(
            f"{root / 'images'}: has no split '{split}'; "
            f"splits that exist: {', '.join(splits) or 'none'}"
        )
    return root / "images" / split


def _annotations(
    root: Path, split: str, images: Sequence[Path], *, labelled: bool
) -> tuple[list[Entry], list[Fault]]:
    json_file, labels = root / "jsons" / f"{split}.json", root / "labels" / split
    if json_file.exists() and labels.is_dir():
        raise InputError(f"{root}: split '{split}' has both {json_file} and {labels}; keep one")
    if json_file.exists():
        return read_json(json_file)
    if labels.is_dir():
        return read_labels(labels, images)
    if labelled:
        have = sorted(
            [path.stem for path in (root / "jsons").glob("*.json")]
            + [path.name for path in (root / "labels").glob("*") if path.is_dir()]
        )
        raise InputError(
            f"{json_file}: no annotations for split '{split}' (nor a folder {labels}); "
            f"annotated splits: {', '.join(have) or 'none'}"
        )
    return [], []


def _exclusions(
    root: Path, split: str, entries: Sequence[Entry], path: Path | None
) -> ExclusionList | None:
    if path is None:
        return None
    listed = read_exclusions(path)
    folders = [root / "images" / name for name in list_splits(root) if name != split]
    others = {_loose_name(image.name) for folder in folders for image in list_images(folder)}
    annotated = {entry.name: entry.words or {} for entry in entries}
    listed.check(split, annotated, lambda name: _loose_name(name) in others)
    return listed


def _match(
    entries: Sequence[Entry], images: Sequence[Path], *, labelled: bool
) -> tuple[list[tuple[Entry, Path]], list[Fault]]:
    """Entries with their image files, those without one as faults.

    A name without an exact counterpart takes the one unclaimed file, if there is one only,
    that differs in the case of its suffix or in Unicode form (archives from a Mac
    decompose Hangul).
    """
    free = {path.name: path for path in images}
    exact = [(entry, free.pop(entry.name)) for entry in entries if entry.name in free]
    taken = {entry.name for entry, _ in exact}
    loose: dict[str, list[Path]] = defaultdict(list)
    for path in free.values():
        loose[_loose_name(path.name)].append(path)
    pending = [entry for entry in entries if entry.name not in taken]
    asked = Counter(_loose_name(entry.name) for entry in pending)
    faults, matched = [], exact
    for entry in pending:
        candidates = loose[_loose_name(entry.name)]
        problem = _name_problem(entry.name)
        if problem:
            faults.append(fault(entry.name, None, "bad-name", problem))
        elif len(candidates) == 1 and asked[_loose_name(entry.name)] == 1:
            path = candidates[0]
            del free[path.name]
            faults.append(fault(entry.name, None, "name-differs", f"the file is '{path.name}'"))
            matched.append((entry, path))
        else:
            rivals = ", ".join(path.name for path in candidates)
            message = f"several names could mean {rivals}" if rivals else "no such image file"
            faults.append(fault(entry.name, None, "no-image", message))
    for name, path in free.items():
        if labelled:
            faults.append(fault(name, None, "no-annotation", "the image has no annotation"))
        else:
            matched.append((Entry(name, None), path))
    return matched, faults


def _loose_name(name: str) -> str:
    stem, dot, suffix = unicodedata.normalize("NFC", name).rpartition(".")
    return f"{stem}{dot}{suffix.lower()}"


def _name_problem(name: str) -> str:
    """Why an annotated name cannot be that of an image, or nothing."""
    if not name or name in (".", "..") or any(c in name for c in "/\\\0"):
        return "must be the plain name of a file in the split's folder, without a path"
    suffix = name[name.rfind(".") :] if "." in name else ""
    if suffix.lower() not in IMAGE_SUFFIXES:
        return f"the suffix must be one of {', '.join(IMAGE_SUFFIXES)}, got '{suffix}'"
    return ""


def _page(entry: Entry, path: Path, *, labelled: bool) -> tuple[Page | None, list[Fault]]:
    if not entry.usable:
        return None, []
    if entry.words is None and labelled:
        message = "has no `words` (an empty object means a page without text)"
        return None, [fault(entry.name, None, "unlabelled", message)]
    try:
        width, height = image_size(path)
    except TooLargeError as error:
        return None, [fault(entry.name, None, "too-large", str(error))]
    except InputError as error:
        return None, [fault(entry.name, None, "broken-image", str(error))]
    faults = _size_faults(entry, width, height)
    words, found = check_words(entry.name, entry.words or {}, width, height)
    faults += found
    if entry.words and not words and labelled:
        # Not a page without text: training on it as one would teach to miss text.
        message = f"none of its {len(entry.words)} words is usable"
        return None, [*faults, fault(entry.name, None, "no-usable-words", message)]
    return Page(entry.name, path, width, height, words), faults


def _size_faults(entry: Entry, width: int, height: int) -> list[Fault]:
    if entry.size is None or entry.size == (width, height):
        return []
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in entry.size):
        got = " and ".join(map(shown, entry.size))
        message = f"img_w and img_h must be numbers, got {got}"
        return [fault(entry.name, None, "bad-size", message)]
    annotated = " x ".join(map(shown, entry.size))
    message = f"annotated as {annotated}, the image is {width} x {height}"
    if entry.size == (height, width):
        message += " upright: do the points belong to the image before EXIF rotation?"
    return [fault(entry.name, None, "size-mismatch", message)]
