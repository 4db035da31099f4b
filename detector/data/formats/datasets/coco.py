"""COCO instances: one JSON file (`images`, `annotations` with `segmentation` and `bbox`).

A crowd (`iscrowd`) is don't-care, and so is the older `ignore`. COCO has no texts of its own;
exports write them into one of a few keys. Several polygons, or parts of a mask, are one word that
something covers in part: their hull is taken, since the largest alone would call the other letters
background.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import shapely

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled, bad_page, image_name, size_of
from detector.data.raw.masks import mask_outline
from detector.data.raw.page_names import normal
from detector.data.raw.shapes import are_points, box_of_size, hull, outline
from detector.data.raw.values import field, first_object, flag, listed
from detector.data.raw.written import json_text, leave_out

SUFFIXES = (".json",)
_TEXT = ("text", "utf8_string", "transcription", "caption")
_OF_ANNOTATIONS = {"category_id", "segmentation", "iscrowd", "area"}


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format: other files of this frame have no categories."""
    content = file.json
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ("images", "annotations")
    ):
        return False
    image, annotation = first_object(content["images"]), first_object(content["annotations"])
    return (image is None or "file_name" in image) and (
        isinstance(content.get("categories"), list)
        or not _OF_ANNOTATIONS.isdisjoint(annotation or {})
    )


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words, and annotations of images that it does not have."""
    content = file.json
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise InputError(
            f"{file.path}: must be an object with lists of images and annotations, as COCO has; "
            f"got {shown(content)}"
        )
    yield from pages(file, content["images"], listed(content.get("annotations")), _add)


def write(pages: Sequence[Labelled], output: Path, root: Path) -> Iterator[tuple[Path, str]]:  # noqa: ARG001
    """One file with a polygon a word; texts are in `text`, don't-care words are crowds."""
    images: list[Any] = []
    annotations: list[Any] = []
    for number, page in enumerate(pages, 1):
        leave_out(page, "language", "orientation")
        width, height = page.size or (None, None)
        name = normal(page.image)
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for word in page.words.values():
            own = {"id": len(annotations) + 1, "image_id": number, "category_id": 1}
            annotations.append(own | _annotation(word))
    categories = [{"id": 1, "name": "text"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    yield output, json_text(content) + "\n"


def _annotation(word: dict[str, Any]) -> dict[str, Any]:
    polygon = shapely.Polygon(word["points"])
    left, top, right, bottom = polygon.bounds
    return {
        "segmentation": [[value for point in word["points"] for value in point]],
        "bbox": [left, top, right - left, bottom - top],
        "area": polygon.area,
        "iscrowd": int(word["ignore"]),
        "text": word["transcription"],
    }


def pages(
    file: LabelFile,
    images: list[Any],
    annotations: list[Any],
    add: Callable[[Labelled, dict[str, Any]], None],
) -> Iterator[Labelled]:
    """Images joined with their annotations by `id` and `image_id`, numbers or text.

    InputError where two images have one id: whose words are meant cannot be known. Annotations
    of other ids become pages of no image, so that they are told.
    """
    of_image: dict[str, list[Any]] = defaultdict(list)
    for annotation in annotations:
        of_image[str(field(annotation, "image_id"))].append(annotation)
    names: dict[str, str] = {}
    for number, image in enumerate(images):
        if field(image, "file_name") is None:
            yield bad_page(f"images[{number}]", "an image must be an object with file_name", image)
            continue
        page = Labelled(
            image_name(image["file_name"]), size=size_of(image.get("width"), image.get("height"))
        )
        key = str(image.get("id"))
        if key in names and names[key] != page.image:
            raise InputError(
                f"{file.path}: the id of each image must be its own, but {shown(key)} is that of "
                f"{shown(names[key])} and {shown(page.image)}; number the images again"
            )
        if key not in names:
            names[key] = page.image
            yield _filled(page, of_image.pop(key, []), add)
    for key, left in of_image.items():
        yield _filled(Labelled(f"image_id {key}"), left, add)


def _filled(
    page: Labelled, annotations: list[Any], add: Callable[[Labelled, dict[str, Any]], None]
) -> Labelled:
    for annotation in annotations:
        if isinstance(annotation, dict):
            add(page, annotation)
        else:
            page.add(annotation)
    return page


def _add(page: Labelled, annotation: dict[str, Any]) -> None:
    more = annotation.get("attributes")
    text = field(annotation, *_TEXT)
    marks = (annotation.get("iscrowd"), annotation.get("ignore"), field(more, "ignore"))
    ignore = next((mark for mark in map(flag, marks) if mark is not False), False)
    page.add(_points(annotation), text or field(more, *_TEXT) or text, ignore=ignore)


def _points(annotation: dict[str, Any]) -> Any:
    """The outline of an annotation, in pixels."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, list) and _is_one(segmentation):
        segmentation = [segmentation]
    parts = [part for part in listed(segmentation) if part]
    outlines = [mask_outline(part) if isinstance(part, dict) else outline(part) for part in parts]
    outlines = [points for points in outlines if points]
    if not outlines:
        return box_of_sides(annotation.get("bbox"))
    if len(outlines) == 1:
        return outlines[0]
    return hull([point for points in outlines for point in listed(points)])


def _is_one(segmentation: list[Any]) -> bool:
    """Whether it is one polygon without the list around it, as some write it."""
    return are_points(segmentation) or not any(isinstance(s, list | dict) for s in segmentation)


def box_of_sides(box: Any) -> Any:
    """The outline of `[x, y, width, height]`."""
    return box_of_size(*box) if isinstance(box, list) and len(box) == 4 else box
