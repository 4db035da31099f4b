"""VGG Image Annotator 1 and 2: a JSON project, or its annotations alone.

The attributes of a region are free names: the text is that declared as text, or that with a usual
name; a checkbox like `ignore` marks don't-care.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from detector.core.errors import InputError
from detector.data.raw.images import path_of
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.marks import is_marked, text_name, used_text_name
from detector.data.raw.shapes import box_of_size, points_of

SUFFIXES = (".json",)
_PROJECT = "_via_img_metadata"


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    content = file.json
    if not isinstance(content, dict):
        return False
    if isinstance(content.get(_PROJECT), dict):
        return True
    return bool(content) and all(
        isinstance(entry, dict) and "filename" in entry and "regions" in entry
        for entry in content.values()
    )


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    if not claims(file):
        raise InputError(
            f"{file.path}: not of VIA: must have `{_PROJECT}`, or entries with `filename` and "
            "`regions`"
        )
    content = file.json
    entries = [e for e in content.get(_PROJECT, content).values() if isinstance(e, dict)]
    text = _text_name(content, entries)
    folder = _setting(content, "_via_settings", "core", "default_filepath")
    for entry in entries:
        name = path_of(entry.get("filename"))
        page = Labelled((path_of(folder) + name) if folder else name, others=(name,))
        for region in _regions(entry):
            _add(page, region, text)
        yield page


def _setting(content: Any, *keys: str) -> Any:
    """The value below keys, None where there is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _text_name(content: Any, entries: list[dict[str, Any]]) -> str | None:
    declared = _setting(content, "_via_attributes", "region")
    named = declared.items() if isinstance(declared, dict) else ()
    texts = [name for name, one in named if _setting(one, "type") == "text"]
    used = (_setting(r, "region_attributes") for entry in entries for r in _regions(entry))
    return text_name(texts) if texts else used_text_name(used)


def _regions(entry: Mapping[str, Any]) -> list[Any]:
    """The regions of an image, which version 1 numbers in an object."""
    regions = entry.get("regions")
    found = list(regions.values()) if isinstance(regions, dict) else regions
    return found if isinstance(found, list) else [] if found is None else [found]


def _add(page: Labelled, region: Any, text: str | None) -> None:
    shape = _setting(region, "shape_attributes")
    if not isinstance(shape, dict):
        page.add(region)
        return
    kind = str(shape.get("name"))
    if kind == "rect":
        points = box_of_size(*(shape.get(key) for key in ("x", "y", "width", "height")))
    elif kind == "polygon":
        points = _polygon(shape.get("all_points_x"), shape.get("all_points_y"))
    else:
        page.left_out[kind] += 1
        return
    attributes = _setting(region, "region_attributes")
    page.add(points, _setting(attributes, text or ""), ignore=is_marked(attributes, text))


def _polygon(xs: Any, ys: Any) -> Any:
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
        return [xs, ys]
    return points_of([[x, y] for x, y in zip(xs, ys, strict=True)])
