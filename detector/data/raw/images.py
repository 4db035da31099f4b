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
        self._by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
        self._by_stem: dict[str, list[PurePosixPath]] = defaultdict(list)
        self._loose = {name: _loose(name) for name in names}
        self._words = {name: _words(loose) for name, loose in self._loose.items()}
        for name, loose in self._loose.items():
            self._by_path[loose].append(name)
            self._by_name[loose.name].append(name)
            self._by_stem[loose.stem].append(name)

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
        found = self._by_name.get(wanted.name) or self._by_stem.get(_stem(reference), [])
        if len(found) < 2:
            return found
        about, loose = _loose(label), self._loose
        if len(wanted.parts) == 1:
            found = [name for name in found if loose[name].parent == about.parent] or found
        else:
            found = _most(found, lambda name: _same_end(loose[name], wanted))
        words = _words(about)
        found = _most(found, lambda name: len(self._words[name] & words))
        return _spelled(found, reference)


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


def _same_end(name: PurePosixPath, wanted: PurePosixPath) -> int:
    """How many folders above both names are the same, from the last one up.

    One more where these are all that the image has: labels often bring the dataset's own folder.
    """
    folders, others = name.parts[:-1], wanted.parts[:-1]
    count = 0
    for one, other in zip(reversed(folders), reversed(others), strict=False):
        if one != other:
            break
        count += 1
    return count + (count == len(folders) < len(others))


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
