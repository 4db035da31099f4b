"""Label files of invented values: what a reader finds in them, and what it does with wrong ones."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from label_files import label_file, parts_of

from detector.core.errors import InputError
from detector.data.labels.formats import Format, claimants
from detector.data.labels.words import check_words
from detector.data.raw.labelled import Labelled

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def claimed_by(name: str, content: Any) -> set[str]:
    """The formats that claim such a file."""
    with tempfile.TemporaryDirectory() as folder:
        return claimants(label_file(Path(folder), name, content))


def pages_of(reader: Format, name: str, content: Any) -> list[Labelled]:
    """The pages of a file that may be of other formats too."""
    with tempfile.TemporaryDirectory() as folder:
        return list(reader.read(label_file(Path(folder), name, content)))


def told(page: Labelled) -> list[tuple[Any, Any, bool]]:
    """(points, text, ignore) of the words of a page, as they are before they are checked."""
    return [(w["points"], w["transcription"], w["ignore"]) for w in page.words.values()]


@st.composite
def spoiled(draw: st.DrawFn, content: Any) -> Any:
    """A value with up to three of its parts replaced by others, of any type."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        places = list(parts_of(content))
        if places:
            holder, key = draw(st.sampled_from(places))
            holder[key] = draw(_VALUES)
    return content


def assert_told(reader: Format, name: str, content: Any) -> None:
    """Whatever the file holds, pages come out whose words can be checked, or one InputError."""
    with tempfile.TemporaryDirectory() as folder:
        file = label_file(Path(folder), name, content)
        pages, message = [], str(file.path)
        try:
            assert isinstance(reader.claims(file), bool)
            pages = list(reader.read(file))
        except InputError as error:
            message = str(error)
    assert str(file.path) in message
    for page in pages:
        assert isinstance(page.image, str)
        assert all(isinstance(other, str) for other in page.others)
        words, faults = check_words(page.image, page.words, 100, 100)
        excluded = {fault.word for fault in faults}
        assert len(words) + len(excluded) >= len(page.words)
