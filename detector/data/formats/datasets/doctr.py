"""docTR's detection sets: `labels.json` beside `images/`, with `polygons` by image name.

There are no texts and no don't-care marks. Corners may stand in any order, also across. Which of
`img_dimensions` is the height its description leaves open, so they are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import shapely

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled, bad_page
from detector.data.raw.shapes import are_points, hull, outline
from detector.data.raw.values import first_object, listed

SUFFIXES = (".json",)


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    content = file.json
    return isinstance(content, dict) and "polygons" in (first_object(content) or {})


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    content = file.json
    if not isinstance(content, dict):
        raise InputError(
            f"{file.path}: must be an object of images with polygons, as docTR has; "
            f"got {shown(content)}"
        )
    for name, entry in content.items():
        if not isinstance(entry, dict):
            yield bad_page(name, "an image must be an object with polygons", entry)
            continue
        polygons = entry.get("polygons")
        if isinstance(polygons, dict):  # by class
            polygons = list(chain.from_iterable(map(listed, polygons.values())))
        page = Labelled(f"images/{name}".replace("\\", "/"), labelled=polygons is not None)
        for polygon in listed(polygons):
            page.add(_in_order(outline(polygon)))
        yield page


def _in_order(points: Any) -> Any:
    """Four corners around their middle; a longer outline has no other order than its own."""
    if not isinstance(points, list) or len(points) != 4 or not are_points(points):
        return points
    return points if shapely.Polygon(points).is_valid else hull(points)
