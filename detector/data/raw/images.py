"""Which image file a label file means, whatever it calls it: a name, a path, one of elsewhere."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from detector.data.page.images import IMAGE_SUFFIXES
from detector.data.raw.page_names import normal

# Also of files that were converted after they had been labelled.
_SUFFIXES = (*IMAGE_SUFFIXES, ".jp2", ".heic")


class Images:
    """The image files below a dataset's folder, by their paths there.

    A Mac's archives decompose Hangul, and cameras write suffixes in capitals, so names are
    compared in Unicode form C and suffixes in small letters.
    """

    def __init__(self, names: Iterable[PurePosixPath]) -> None:
        self._by_path: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
        self._called: dict[tuple[str, str], list[PurePosixPath]] = defaultdict(list)
        self._namesakes: dict[tuple[str, str], _Namesakes] = {}
        for name in names:
            loose = _loose(name)
            self._by_path[loose].append(name)
            self._called["name", loose.name].append(name)
            self._called["stem", loose.stem].append(name)

    def find(self, reference: str, label: PurePosixPath) -> list[PurePosixPath]:
        """The images that `reference`, in the label file `label`, may mean; one when it is sure.

        Tried in this order: the path from the label's folder and each above it; the images of
        that name, or of that stem where no such image has its suffix. Of several those stay that
        lie beside the label, if the reference is but a name, then those whose paths share most
        parts with the reference from its end, and then most with the label's, words of their
        names too (`ch4_training_images`). Of those that differ in form and capitals only, the one
        that is spelled as the reference stays.
        """
        wanted = _loose(PurePosixPath(reference))
        for folder in label.parents:
            path = _within(folder, wanted)
            if path is not None and path in self._by_path:
                return _spelled(self._by_path[path], reference)
        key = ("name", wanted.name)
        if key not in self._called:
            key = ("stem", _stem(reference))
        found = self._called.get(key, [])
        if len(found) < 2:
            return found
        if key not in self._namesakes:
            self._namesakes[key] = _Namesakes(found)
        return _spelled(self._namesakes[key].closest(wanted, _loose(label)), reference)


class _Namesakes:
    """Images of one name or stem, by the ends of their folders' paths and the words in these."""

    def __init__(self, names: Iterable[PurePosixPath]) -> None:
        self._place = {name: number for number, name in enumerate(names)}
        self._words = {}
        self._in_folder: dict[tuple[str, ...], list[PurePosixPath]] = defaultdict(list)
        self._below: dict[tuple[str, ...], list[PurePosixPath]] = defaultdict(list)
        self._having: dict[tuple[str, ...], dict[str, list[PurePosixPath]]] = {}
        for name in self._place:
            loose = _loose(name)
            folders = loose.parts[:-1]
            self._words[name] = _words(loose)
            self._in_folder[folders].append(name)
            for count in range(len(folders) + 1):
                self._below[_last(folders, count)].append(name)

    def closest(self, wanted: PurePosixPath, label: PurePosixPath) -> list[PurePosixPath]:
        """Those that a reference in a label file may mean, as `Images.find` tells; in order."""
        words, others = _words(label), wanted.parts[:-1]
        if not others:
            beside = self._in_folder.get(label.parts[:-1])
            found = self._with_most((), words) if beside is None else beside
        else:
            found = self._of_same_end(others, words)
        found = _most(found, lambda name: len(self._words[name] & words))
        return sorted(found, key=lambda name: self._place[name])

    def _of_same_end(self, others: tuple[str, ...], words: set[str]) -> list[PurePosixPath]:
        """Those whose folders share most names with others from the end, of many the likeliest.

        One more counts where these are all that the image has: labels often bring the dataset's
        own folder.
        """
        counts = range(len(others), -1, -1)
        count = next(count for count in counts if _last(others, count) in self._below)
        end = _last(others, count)
        if count < len(others) and end in self._in_folder:
            return self._in_folder[end]
        level = self._in_folder.get(_last(others, count - 1), []) if count else []
        return [*self._with_most(end, words), *level]

    def _with_most(self, end: tuple[str, ...], words: set[str]) -> list[PurePosixPath]:
        """Those below folders of an end that have most of the words in their paths.

        From the rarest word on: an image that has come up by none of them has but those that are
        left.
        """
        if end not in self._having:
            self._having[end] = defaultdict(list)
            for name in self._below[end]:
                for word in self._words[name]:
                    self._having[end][word].append(name)
        lists = sorted((self._having[end].get(word, []) for word in words), key=len)
        most, seen = 0, set[PurePosixPath]()
        for left, having in zip(range(len(lists), 0, -1), lists, strict=True):
            if most > left:
                break
            seen.update(having)
            most = max([most, *(len(self._words[name] & words) for name in having)])
        return [*seen] if most else self._below[end]


def _loose(name: PurePosixPath) -> PurePosixPath:
    path = PurePosixPath(normal(str(name)))
    return path.with_suffix(path.suffix.lower()) if path.suffix else path


def _stem(reference: str) -> str:
    """The stem of an image that a reference means; without a suffix of images it is all stem."""
    name = PurePosixPath(normal(reference))
    return name.stem if name.suffix.lower() in _SUFFIXES else name.name


def _within(folder: PurePosixPath, path: PurePosixPath) -> PurePosixPath | None:
    """`path` from a folder of the dataset; None when it leads out of it."""
    parts: list[str] = []
    for part in (*(() if path.is_absolute() else _loose(folder).parts), *path.parts):
        if part == ".." and not parts:
            return None
        if part == "..":
            parts.pop()
        elif part not in (".", "/"):
            parts.append(part)
    return PurePosixPath(*parts)


def _spelled(names: list[PurePosixPath], reference: str) -> list[PurePosixPath]:
    """Those that are called just as the reference is, or else all."""
    wanted = PurePosixPath(reference).name
    return [name for name in names if name.name == wanted] or names


def _most(names: list[PurePosixPath], score: Callable[[PurePosixPath], int]) -> list[PurePosixPath]:
    """Those with the highest score."""
    scores = [score(name) for name in names]
    best = max(scores, default=0)
    return [name for name, own in zip(names, scores, strict=True) if own == best]


def _last(folders: tuple[str, ...], count: int) -> tuple[str, ...]:
    return folders[len(folders) - count :]


def _words(path: PurePosixPath) -> set[str]:
    """The names of a path's folders and the words that they are made of, in small letters."""
    folders = [part.lower() for part in path.parts[:-1]]
    return {*folders, *(word for part in folders for word in re.findall(r"[^\W_]+", part))}


# How Label Studio serves files of its own machine.
_LOCAL = re.compile(r"/local-files/?\?(?:.*&)?d=([^&]*)")


_WEB = re.compile(r"https?://[^/]*/?", re.IGNORECASE)


_BUCKET = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^/]*/")


def path_of(reference: Any) -> str:
    """The path with `/`, of a URL the part that names the file, unescaped; "" for what is no text.

    A path of a Windows machine and one below a bucket or a host stay paths of elsewhere: only
    their ends can be found in a dataset.
    """
    if not isinstance(reference, str):
        return ""
    local = _LOCAL.search(reference)
    if local:
        return unquote(local[1])
    if web := _WEB.match(reference):
        return unquote(re.split(r"[?#]", reference[web.end() :])[0])
    if bucket := _BUCKET.match(reference):
        return unquote(reference[bucket.end() :])
    return reference.strip().replace("\\", "/")
