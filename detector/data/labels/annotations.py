"""Reading a split: annotations matched to images, checked page by page and word by word."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from detector.core.commands import command
from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.labels.exclusion import ExclusionList, read_exclusions
from detector.data.labels.formats import formats
from detector.data.labels.frames import in_pixels, upright
from detector.data.labels.layout import layout_of
from detector.data.labels.pages import (
    AS_FOUND,
    KINDS,
    Entry,
    Fault,
    LabelRules,
    Page,
    Split,
    Word,
    evenly_spaced,
    fault,
)
from detector.data.labels.source import Source, is_annotated, read_source
from detector.data.labels.splits import named_part, part_of
from detector.data.labels.trained import WordSizes, untrained
from detector.data.labels.words import check_words, refuse_fractions
from detector.data.page.images import (
    IMAGE_SUFFIXES,
    TooLargeError,
    image_size,
    list_images,
    read_image,
    stored_frame,
)
from detector.data.page.pdf import is_pdf
from detector.data.raw.page_names import normal

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


def read_split(
    root: Path,
    split: str,
    *,
    limit: int | None = None,
    labelled: bool = True,
    exclude: Path | None = None,
    rules: LabelRules = AS_FOUND,
) -> Split:
    """The usable pages of a split, evenly thinned to `limit`, and the faults of all of it.

    Reads labels of any format in `detector.data.formats`. Splits are the folders of
    `ROOT/images/`, or else told by the names of folders and files, or dealt (see
    `detector.data.labels.layout`); `train@2/5` is the second fifth of one (see `named_part`).
    `labelled=False` also takes pages without annotation, without
    words then, and needs no annotation file. Only image headers are read; broken pixels show in
    `read_image`. `exclude` is a reviewed list of words (`detector.data.labels.exclusion`). Raises
    InputError when a folder or file is missing or not as it should be, when the list names what
    is not there, and when no page is usable.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit: must be at least 1 page, got {limit}")
    scanned = scan_split(root, split, labelled=labelled, exclude=exclude, rules=rules)
    if not scanned.pages:
        kinds = Counter(f.kind for f in scanned.faults if KINDS[f.kind] == "page excluded")
        reasons = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        raise InputError(
            f"{root}: no usable page in split '{split}' ({reasons or 'no image in the folder'}); "
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
    root: Path,
    split: str,
    *,
    labelled: bool = True,
    exclude: Path | None = None,
    rules: LabelRules = AS_FOUND,
) -> Split:
    """As `read_split`, but all pages, and a split without a usable page is returned."""
    whole, part = named_part(split)
    if part is not None:
        scanned = scan_split(root, whole, labelled=labelled, exclude=exclude, rules=rules)
        return part_of(scanned, split, *part)
    source = read_source(root, rules.format, split=split)
    if labelled and source.format is None:
        have = ", ".join(own for own in sorted(source.splits) if is_annotated(root, own)) or "none"
        raise InputError(
            f"{root}: no annotations for split '{split}', as in jsons/{split}.json (formats: "
            f"{', '.join(formats())}); annotated splits: {have}"
        )
    return _checked(root, split, source, rules, exclude=exclude, labelled=labelled)


def _checked(
    root: Path,
    split: str,
    source: Source,
    rules: LabelRules,
    *,
    exclude: Path | None,
    labelled: bool = True,
) -> Split:
    """The pages of a split and their words, checked."""
    pixels = [entry.words or {} for entry, _ in source.entries if entry.unit == "pixel"]
    refuse_fractions(f"{root}: split '{split}'", pixels)
    own = source.split or split
    listed = _exclusions(source, own, exclude)
    faults, pages, pairs = [*source.faults], [], [*source.entries]
    if labelled:
        faults += [_unlabelled(entry, path) for entry, path in source.unlabelled]
    else:
        pairs += source.unlabelled
    for entry, path in pairs:
        page, found = _page(entry, path, rules, labelled=labelled)
        faults += found
        if page is not None and listed is not None:
            page, found = listed.apply(own, page)
            faults += found
        if page is not None:
            pages.append(page)
    pages.sort(key=lambda page: page.name)
    faults.sort(key=lambda f: (f.file, f.word or ""))
    return Split(split, tuple(pages), tuple(faults))


def list_splits(root: Path, rules: LabelRules = AS_FOUND) -> list[str]:
    """Names of the splits of a dataset, sorted; InputError when there is none."""
    layout = layout_of(root)
    if layout.folders:
        return [*layout.folders]
    return sorted(read_source(root, rules.format).splits)


def scan_all(
    root: Path,
    *,
    exclude: Path | None = None,
    rules: LabelRules = AS_FOUND,
    given: Path | None = None,
) -> Split:
    """All usable pages of a folder, whatever its splits, by the paths of their images below it.

    `given` is a label file in the place of those in the folder. The split has no name.
    """
    layout = layout_of(root)
    pages: list[Page] = []
    faults: list[Fault] = []
    for name in list_splits(root, rules) if given is None else layout.folders or [None]:
        source = read_source(root, rules.format, split=name, given=given)
        if source.format is None:
            faults.append(fault(f"split {name}", None, "no-annotation", "there is no label file"))
            continue
        split = _checked(root, name or "", source, rules, exclude=exclude)
        pages += split.pages
        faults += split.faults
    names = [normal(p.path.relative_to(root).as_posix()) for p in pages]
    named = [replace(page, name=name) for page, name in zip(pages, names, strict=True)]
    return Split("", tuple(sorted(named, key=lambda page: page.name)), tuple(dict.fromkeys(faults)))


def _exclusions(source: Source, split: str, path: Path | None) -> ExclusionList | None:
    if path is None:
        return None
    listed = read_exclusions(path)
    elsewhere = (names for own, names in source.splits.items() if own != split)
    others = {_loose_name(name) for names in elsewhere for name in names}
    annotated = {entry.name: entry.words or {} for entry, _ in source.entries}
    listed.check(split, annotated, lambda name: _loose_name(name) in others)
    return listed


def _loose_name(name: str) -> str:
    stem, dot, suffix = normal(name).rpartition(".")
    return f"{stem}{dot}{suffix.lower()}"


def _unlabelled(entry: Entry, path: Path) -> Fault:
    """An image without labels; of a PDF that cannot be read why, since labels of its pages then
    find none."""
    if is_pdf(path):
        try:
            image_size(path)
        except InputError as error:
            return fault(entry.name, None, "broken-image", str(error))
    return fault(entry.name, None, "no-annotation", "the image has no annotation")


def _page(
    entry: Entry, path: Path, rules: LabelRules, *, labelled: bool
) -> tuple[Page | None, list[Fault]]:
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
    stored = stored_frame(path)
    turned = _is_stored(entry, stored, rules.frame)
    faults = [] if turned else _size_faults(entry, width, height)
    raw = entry.words or {}
    if entry.unit == "fraction":
        raw = in_pixels(raw, *(stored[:2] if turned else (width, height)))
    if turned:
        raw = upright(raw, stored[2], stored[:2])
        message = f"its labels are of the image as stored, {stored[0]} x {stored[1]}, and turned"
        faults.append(fault(entry.name, None, "stored-frame", message))
    words, found = check_words(entry.name, raw, width, height, rules.dont_care)
    faults += found
    if entry.words and not words and labelled:
        # Not a page without text: training on it as one would teach to miss text.
        message = f"none of its {len(entry.words)} words is usable"
        return None, [*faults, fault(entry.name, None, "no-usable-words", message)]
    return Page(entry.name, path, width, height, words), faults


def _is_stored(entry: Entry, stored: tuple[int, int, int], frame: str) -> bool:
    """Whether the points belong to the image before its EXIF turn: as said, else by their size.

    Fractions are of the displayed image unless it is said.
    """
    *size, orientation = stored
    if orientation == 1 or frame == "displayed":
        return False
    told = entry.unit == "pixel" and entry.size is not None and [*entry.size] == size
    return frame == "stored" or (orientation >= 5 and size[0] != size[1] and told)


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
        message += ": were they drawn before it was turned?"
    return [fault(entry.name, None, "size-mismatch", message)]
