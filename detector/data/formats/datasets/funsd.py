"""FUNSD forms: a JSON file an image (`form`, a list of entities with `words`).

The words of an entity are what is found; its own box repeats them. Words without text are check
boxes and the like: don't-care.
"""

from __future__ import annotations

from collections.abc import Iterator

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled, by_stem
from detector.data.raw.shapes import box_of_corners, outline
from detector.data.raw.values import field, first_object, listed

SUFFIXES = (".json",)


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    content = file.json
    if not isinstance(content, dict) or not isinstance(content.get("form"), list):
        return False
    entity = first_object(content["form"])
    return {"words", "box"} <= set(entity) if entity else set(content) == {"form"}


def read(file: LabelFile) -> Iterator[Labelled]:
    """The image of the file with its words."""
    content = file.json
    if not isinstance(content, dict) or "form" not in content:
        raise InputError(
            f"{file.path}: must be an object with the list form, as FUNSD has; got {shown(content)}"
        )
    page = by_stem(file.name)
    for entity in listed(content["form"]):
        words = listed(entity.get("words")) if isinstance(entity, dict) else [entity]
        if not words:
            page.left_out["entity without words"] += 1
        for word in words:
            box, text = field(word, "box"), field(word, "text")
            page.add(_points(word if box is None else box), text, ignore=text in (None, ""))
    yield page


def _points(box: object) -> object:
    if isinstance(box, list) and len(box) == 4 and not isinstance(box[0], list):
        return box_of_corners(*box)
    return outline(box)
