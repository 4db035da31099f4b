"""Pages written as label files of another format, and copies of their images."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from detector.core.errors import InputError
from detector.core.files import replacing, require_writable, write_text
from detector.data.labels.formats import formats, label_files
from detector.data.labels.pages import Fault, Page
from detector.data.page.pdf import file_of
from detector.data.raw.labelled import Labelled

_CALLED = {"icdar2015": "icdar"}  # in short, what is written
_DIGITS = 3  # a thousandth of a pixel


def writers() -> dict[str, Any]:
    """The formats that can be written, by name."""
    found = {name: one for name, one in formats().items() if hasattr(one, "write")}
    return {_CALLED.get(name, name): one for name, one in found.items()}


def require_output(to: str, output: Path) -> None:
    """InputError unless labels of the format `to` can be written to `output`."""
    if to not in writers():
        raise InputError(f"to: must be one of {', '.join(writers())}, got {to!r}")
    folder = _is_folder(to)
    if not folder and output.suffix.lower() != ".json":
        raise InputError(f"output: {to} is one file that ends in .json, got {output}")
    require_writable("output", output, folder=folder)


def write_labels(
    pages: Sequence[Page],
    to: str,
    output: Path,
    root: Path,
    *,
    copy_images: bool = False,
    given: Path | None = None,
) -> Counter[str]:
    """Write pages whose images lie below `root`; counts what the format has no place for.

    With `copy_images` the images come to the labels, by their paths below `root`. Raises
    InputError, before anything is written, where that would replace labels of `root` or the file
    that was `given` instead, and where two images would have the same label file.
    """
    labelled = [_labelled(page, root) for page in pages]
    root, output = root.resolve(), output.resolve()
    beside = output if _is_folder(to) else output.parent
    folder = beside if copy_images else root
    files = list(writers()[to].write(labelled, output, folder))
    _check(files, [file.path for file in label_files(root)] + [given or root])
    if copy_images:
        for image in dict.fromkeys(file_of(Path(page.image)) for page in labelled):
            _copy(root / image, beside / image)
    for path, text in files:
        write_text(path, text)
    return sum((page.left_out for page in labelled), Counter[str]())


def told(faults: Iterable[Fault]) -> Iterator[str]:
    """A line for each kind of fault with how many there are, and for what is no words to find."""
    faults = list(faults)
    kinds = Counter(fault.kind for fault in faults if fault.kind != "left-out")
    for kind, count in kinds.most_common():
        first = next(fault for fault in faults if fault.kind == kind)
        where = first.file if first.word is None else f"{first.file}, word {first.word}"
        yield f"{count} {kind}, the first: {where}: {first.message}"
    left: Counter[str] = Counter()
    for fault in faults:
        if fault.kind == "left-out":
            number, _, what = fault.message.rpartition(";")[0].partition(" of ")
            left[what] += int(number)
    if left:
        yield f"no words, so left out: {counted(left)}"


def counted(counts: Counter[str]) -> str:
    """The counts in a line, most first."""
    return ", ".join(f"{count} x {what}" for what, count in counts.most_common())


def _is_folder(to: str) -> bool:
    return bool(getattr(writers()[to], "FOLDER", False))


def _labelled(page: Page, root: Path) -> Labelled:
    """The page as a reader would yield it, with the image's own path below `root`."""
    raw = Labelled(page.path.relative_to(root).as_posix(), size=(page.width, page.height))
    for word in page.words:
        raw.add(
            [[_short(value) for value in point] for point in word.points.tolist()],
            word.text or "",
            ignore=word.ignore,
            language=[*word.languages] or None,
            orientation=word.orientation,
        )
    return raw


def _short(value: float) -> float | int:
    rounded = round(value, _DIGITS)
    return int(rounded) if rounded == int(rounded) else rounded


def _check(files: Sequence[tuple[Path, str]], sources: Iterable[Path]) -> None:
    counts = Counter(path for path, _ in files)
    if twice := [path for path, count in counts.items() if count > 1]:
        raise InputError(
            f"output: {twice[0]} would be of {counts[twice[0]]} images; rename all but one of them"
        )
    if known := sorted({path.resolve() for path in sources} & counts.keys()):
        raise InputError(
            f"output: {known[0]} is among the labels that are there, which are not replaced; "
            "give another output or take the file away"
        )


def _copy(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
