from __future__ import annotations

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.data.raw.images import path_of


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("a b#1%20?.png", "a b#1%20?.png"),
        ("..\\shots\\a.png", "../shots/a.png"),
        ("C:\\Users\\me\\a.png", "C:/Users/me/a.png"),
        ("https://host.org:8080/iiif/a%20b.jpg?x=1/2#top", "iiif/a b.jpg"),
        ("https://host.org", ""),
        ("gs://bucket/some/%EA%B0%80.png", "some/가.png"),
        ("file:///home/me/a%20b.png", "home/me/a b.png"),
        ("/data/local-files/?d=set%2Fa+b.png&x=1", "set/a+b.png"),
        (None, ""),
        (["a.png"], ""),
    ],
)
def test_the_part_that_names_the_file(reference: object, path: str) -> None:
    assert path_of(reference) == path


@examples(100)
@given(st.text())
def test_any_text_names_something_without_backslashes(text: str) -> None:
    assert "\\" not in path_of(text) or "://" in text or "local-files" in text
