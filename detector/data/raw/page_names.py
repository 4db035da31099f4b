"""Which page a name means that another file calls by it, perhaps without suffix or folders."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from detector.data.page.images import IMAGE_SUFFIXES

#: For each way of comparing names, the closest first, the pages by what is compared.
Index = Sequence[Mapping[str, Sequence[str]]]


def normal(name: str) -> str:
    """A name in Unicode form C; a Mac's archives decompose Hangul."""
    return unicodedata.normalize("NFC", name)


def page_index(names: Mapping[str, Sequence[str]]) -> Index:
    """The pages by all their names: whole, without an image's suffix, without folders too."""
    index = []
    for key in _KEYS:
        pages = defaultdict(list)
        for page, own in names.items():
            for compared in dict.fromkeys(map(key, own)):
                pages[compared].append(page)
        index.append(pages)
    return index


def pages_named(names: Sequence[str], index: Index) -> Sequence[str]:
    """The pages that have one of the names: the first in the closest way in which any has it."""
    for key, pages in zip(_KEYS, index, strict=True):
        for name in names:
            if found := pages.get(key(name)):
                return found
    return []


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name


def _without_folders(name: str) -> str:
    return _without_suffix(name).rpartition("/")[2]


_KEYS: tuple[Callable[[str], str], ...] = (normal, _without_suffix, _without_folders)
