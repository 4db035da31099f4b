from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from detector.data.raw.images import Images


@pytest.mark.parametrize(
    ("reference", "found"),
    [("scans/a.tif", ["in/a.png"]), ("a.BMP", ["in/a.png"]), ("a.v2", []), ("b.v2", ["b.v2.jpg"])],
)
def test_an_image_that_was_converted_is_found_by_its_stem(reference: str, found: list[str]) -> None:
    images = Images(map(PurePosixPath, ("in/a.png", "b.v2.jpg")))
    assert list(map(str, images.find(reference, PurePosixPath("labels/x.xml")))) == found
