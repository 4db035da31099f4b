"""HierText: one JSON object a split, whatever its suffix says (paragraphs, lines, words).

Words that are not legible are don't-care. So is a line or paragraph without words: there is text,
and nobody has said where its words are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled, bad_page, size_of
from detector.data.raw.shapes import outline
from detector.data.raw.values import field, first_object, flag, listed

SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz")


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    content = file.json
    annotations = content.get("annotations") if isinstance(content, dict) else None
    image = first_object(annotations) if isinstance(annotations, list) else None
    return image is not None and {"image_id", "paragraphs"} <= set(image)


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words; they lie in a folder of the name of the file."""
    content = file.json
    if not isinstance(content, dict) or "annotations" not in content:
        raise InputError(
            f"{file.path}: must be an object with the list annotations, as HierText has; "
            f"got {shown(content)}"
        )
    split = file.name.name.partition(".")[0]
    for number, image in enumerate(listed(content["annotations"])):
        if field(image, "image_id") is None:
            rule = "an image must be an object with image_id and paragraphs"
            yield bad_page(f"annotations[{number}]", rule, image)
            continue
        page = Labelled(
            f"{split}/{image['image_id']}.jpg",
            size=size_of(image.get("image_width"), image.get("image_height")),
            labelled=image.get("paragraphs") is not None,
        )
        _fill(page, image.get("paragraphs"), ("lines", "words"))
        yield page


def _fill(page: Labelled, parts: Any, below: tuple[str, ...]) -> None:
    """Add the words of paragraphs, of lines or, with nothing below, themselves."""
    for part in listed(parts):
        inner = listed(part.get(below[0])) if below and isinstance(part, dict) else []
        if inner:
            _fill(page, inner, below[1:])
            continue
        legible = field(part, "legible")
        illegible = bool(below) or (legible is not None and flag(legible) is not True)
        points = part.get("vertices") if isinstance(part, dict) else part
        page.add(outline(points), field(part, "text"), ignore=illegible)
