"""AI Hub's finance documents: a JSON file an image, named like it, with `annotations[].polygons`.

Each polygon has `text` and `points`; they belong to the upright image.
"""

from __future__ import annotations

from collections.abc import Iterator

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import points_of
from detector.data.raw.values import field, first_object, list_in, nested

SUFFIXES = (".json",)


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    content = file.json
    groups = field(content, "annotations")
    if not isinstance(groups, list) or not isinstance(field(content, "images"), list):
        return False
    group = first_object(groups)
    if group is None:
        return (
            "Identifier" in content
            and field(first_object(content["images"]), "document_name") is not None
        )
    return isinstance(group.get("polygons"), list)


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    image = first_object(field(file.json, "images"))
    size = field(image, "width"), field(image, "height")
    page = Labelled(file.name.with_suffix("").name, size=None if None in size else size)
    for word in nested(list_in(file, "annotations"), "polygons"):
        page.add(points_of(field(word, "points")), field(word, "text"))
    yield page
