"""MMOCR 1.x: one JSON file (`metainfo`, `data_list`), of text detection or of text spotting.

Its `bbox` holds two corners, unlike COCO's, and counts where an instance has no polygon.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled, bad_page, image_name, size_of
from detector.data.raw.shapes import box_of_corners, outline
from detector.data.raw.values import field, first_object, flag, listed

SUFFIXES = (".json",)


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format; sets of cropped words, which have only texts, are not."""
    content = file.json
    if not isinstance(content, dict) or not isinstance(content.get("data_list"), list):
        return False
    about = content.get("metainfo")
    kinds = (field(about, "task_name"), field(about, "dataset_type"))
    if any(str(kind).lower().startswith("textrecog") for kind in kinds):
        return False
    entry = first_object(content["data_list"])
    return "img_path" in entry if entry else "metainfo" in content


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    content = file.json
    if not isinstance(content, dict) or "data_list" not in content:
        raise InputError(
            f"{file.path}: must be an object with the list data_list, as MMOCR has; "
            f"got {shown(content)}"
        )
    for number, entry in enumerate(listed(content["data_list"])):
        if field(entry, "img_path") is None:
            rule = "an entry must be an object with img_path and instances"
            yield bad_page(f"data_list[{number}]", rule, entry)
            continue
        instances = entry.get("instances")
        page = Labelled(
            image_name(entry["img_path"]),
            size=size_of(entry.get("width"), entry.get("height")),
            labelled=instances is not None,
        )
        for instance in listed(instances):
            page.add(
                _points(instance),
                field(instance, "text"),
                ignore=flag(field(instance, "ignore")),
            )
        yield page


def _points(instance: Any) -> Any:
    if not isinstance(instance, dict):
        return instance
    polygon, box = instance.get("polygon"), instance.get("bbox")
    if polygon:
        return outline(polygon)
    return box_of_corners(*box) if isinstance(box, list) and len(box) == 4 else box
