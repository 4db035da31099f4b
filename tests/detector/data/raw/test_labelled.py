from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from detector.data.raw.labelled import bad_page, by_stem, image_name, size_of


def test_a_file_about_one_image_means_that_of_its_stem() -> None:
    page = by_stem(PurePosixPath("labels/a.b.json"))
    assert (page.image, page.others) == ("labels/a.b", ())


def test_pages_have_numbers_and_the_first_may_have_none() -> None:
    label = PurePosixPath("deed.json")
    first, second = by_stem(label, 1, 2), by_stem(label, 2, 2)
    assert first.image == "deed"
    assert first.others[:2] == ("deed-1", "deed-01")
    assert second.image == "deed-2"
    assert "deed_002" in second.others
    assert by_stem(label, 12345, 99999).others == ("deed_12345", "deed.pdf#page=12345")
    assert first.others[-1] == "deed.pdf#page=1"


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(3, "4", (3, 4)), (None, 4, None), (3, None, None), (3, "x", (3, "x"))],
)
def test_a_size_as_it_is_told(width: Any, height: Any, size: Any) -> None:
    assert size_of(width, height) == size


def test_names_of_images() -> None:
    assert image_name("a\\b.png") == "a/b.png"
    assert image_name(None) == ""
    assert image_name(12) == "12"


def test_a_bad_page_says_what_stands_there() -> None:
    page = bad_page("a.png", "a page must be an object", [1])
    assert not page.labelled
    assert page.faults == [(None, "bad-page", "a page must be an object, got list")]
