"""Label files for the tests of their readers: written, read into words, damaged in one place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from hypothesis import strategies as st

from detector.core.errors import InputError
from detector.data.labels.formats import Format
from detector.data.labels.words import check_words
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda some: st.lists(some, max_size=4) | st.dictionaries(st.text(max_size=3), some),
    max_leaves=8,
)


def label_file(root: Path, name: str, content: Any) -> LabelFile:
    """A file below `root`: of bytes or text as they are, of anything else as JSON."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str | bytes):
        content = json.dumps(content, ensure_ascii=False)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return LabelFile(path, PurePosixPath(name))


def edit(root: Path, split: str, change: Callable[[dict], None]) -> None:
    """Change the annotation of the first page of a split."""
    file = root / "jsons" / f"{split}.json"
    content = json.loads(file.read_text())
    change(content["images"][min(content["images"])]["words"])
    file.write_text(json.dumps(content))


def pages_of(reader: Format, file: LabelFile) -> list[Labelled]:
    """The pages of a file that must be claimed."""
    assert reader.claims(file)
    return list(reader.read(file))


def told(page: Labelled) -> list[tuple[str | None, bool]]:
    """Text and don't-care of every word."""
    return [(word["transcription"], word["ignore"]) for word in page.words.values()]


def points_of(page: Labelled) -> list[Any]:
    return [word["points"] for word in page.words.values()]


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> Any:
    """A JSON value with anything in the place of one of its parts, or that part left out."""
    value = copy.deepcopy(whole)
    parts = list(parts_of(value))
    parent, key = draw(st.sampled_from(parts))
    if draw(st.booleans()) and isinstance(parent, dict):
        del parent[key]
    else:
        parent[key] = draw(JSON)
    return value


def survives(reader: Format, file: LabelFile) -> None:
    """Assert that reading ends in pages whose words can be checked, or in an InputError."""
    with suppress(InputError):
        for page in reader.read(file):
            kept, faults = check_words(page.image, page.words, 100, 100)
            assert len(kept) + len({fault.word for fault in faults}) >= len(page.words)


def parts_of(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every part of a JSON value, as what holds it and the key or index there."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in items:
        yield value, key
        if isinstance(part, dict | list):
            yield from parts_of(part)
