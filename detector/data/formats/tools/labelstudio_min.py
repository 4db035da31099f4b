"""Label Studio, its JSON-MIN export: a list of tasks, the regions under the names of the controls.

Places are as in the full export. Which text belongs to which region is known by their order alone,
so where the numbers of regions, classes and texts differ no region gets a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from detector.core.errors import InputError
from detector.data.formats.tools.labelstudio import (
    classes,
    image_names,
    image_of,
    joined,
    newest,
    outline,
)
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.marks import is_dont_care, text_name

SUFFIXES = (".json",)
_ABOUT = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
_PLACES = {"points", "x", "width", "rle"}
_OF_EXPORT = {"annotator", "annotation_id", "lead_time"}


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    tasks = file.json
    return isinstance(tasks, list) and bool(tasks) and all(_is_task(task) for task in tasks)


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words, of the newest of several records of a task."""
    if not claims(file):
        raise InputError(
            f"{file.path}: not a JSON-MIN export of Label Studio: must be a list of tasks with "
            "`annotation_id` or regions with `original_width`"
        )
    records: dict[str, list[Mapping[str, Any]]] = {}
    for number, task in enumerate(file.json):
        records.setdefault(str(task.get("id", f"number {number}")), []).append(task)
    for tasks in records.values():
        page = _page(max(tasks, key=newest))
        if len(tasks) > 1:
            page.left_out["older annotation"] += len(tasks) - 1
        yield page


def _is_task(task: Any) -> bool:
    if not isinstance(task, dict) or isinstance(task.get("annotations"), list):
        return False
    items = (item for value in task.values() for item in _listed(value))
    sized = any(_is_region(item) and "original_width" in item for item in items)
    named = any(isinstance(value, str) for value in task.values())
    return named and (sized or not _OF_EXPORT.isdisjoint(task))


def _page(task: Mapping[str, Any]) -> Labelled:
    keys = list(task)
    start = keys.index("id") if "id" in keys else 0  # the task's data come before, controls after
    reference = image_of(task[key] for key in (keys[:start] or keys) if key not in _ABOUT)
    image, *others = image_names(reference)
    page = Labelled(image, tuple(others), unit="fraction")
    named = {key: _listed(task[key]) for key in keys[start:] if key not in _ABOUT}
    controls = {key: items for key, items in named.items() if items != [reference]}
    regions, names, in_one_order = _regions(controls)
    texts = _texts(controls, len(regions))
    sure = in_one_order and len(texts) == len(regions) and all(map(_may_belong, texts, regions))
    placed = {_place(text): text for text in texts if isinstance(text, dict)}
    for number, region in enumerate(regions):
        text = texts[number] if sure else placed.get(_place(region))
        text = joined(text["text"] if isinstance(text, dict) else text)
        _add(page, region, text, any(map(is_dont_care, names[_place(region)])))
    if not sure and len(placed) < len(texts):
        page.left_out["text without a sure region"] += len(texts) - len(placed)
    return page


def _listed(value: Any) -> list[Any]:
    """The items of a control: a single text or choice stands there without its list."""
    return value if isinstance(value, list) else [value]


def _regions(
    controls: Mapping[str, list[Any]],
) -> tuple[list[Mapping[str, Any]], Mapping[str, list[Any]], bool]:
    """Every region once, the names of its classes by its place, and whether the regions stand in
    the order in which they were drawn.

    A region stands in the list of each control that says something of it: those of the classes
    have all shapes in their order.
    """
    lists = [[item for item in items if _is_region(item)] for items in controls.values()]
    lists.sort(key=lambda items: not any(map(_has_labels, items)))
    regions: list[Mapping[str, Any]] = []
    names: dict[str, list[Any]] = {}
    sources = 0
    for items in lists:
        new = [item for item in items if _place(item) not in names]
        for item in items:
            names.setdefault(_place(item), []).extend(classes(item))
        regions += new
        sources += bool(new)
    return regions, names, sources <= 1


def _texts(controls: Mapping[str, list[Any]], count: int) -> list[Any]:
    """The items of the control that holds the texts; one with `count` of them comes first."""
    texts = {key: items for key, items in controls.items() if all(map(_is_text, items))}
    fitting = text_name(key for key, items in texts.items() if len(items) == count)
    name = fitting or text_name(texts)
    return [] if name is None else texts[name]


def _is_text(item: Any) -> bool:
    return isinstance(item, str) or (isinstance(item, dict) and "text" in item)


def _is_region(item: Any) -> bool:
    """Whether it is a region, not a text that has its place with it."""
    return isinstance(item, dict) and not _PLACES.isdisjoint(item) and "text" not in item


def _has_labels(region: Mapping[str, Any]) -> bool:
    return any(key.endswith("labels") for key in region)


def _may_belong(text: Any, region: Mapping[str, Any]) -> bool:
    return not isinstance(text, dict) or _place(text) == _place(region)


def _place(item: Mapping[str, Any]) -> str:
    return str([item.get(key) for key in ("points", "x", "y", "width", "height", "rotation")])


def _add(page: Labelled, region: Mapping[str, Any], text: Any, ignore: bool) -> None:
    """Add a box or a polygon; count what has another shape."""
    if "points" not in region and "width" not in region:
        page.left_out["ellipse" if "radiusX" in region else "region of another shape"] += 1
        return
    width, height = region.get("original_width"), region.get("original_height")
    page.size = page.size or (None if None in (width, height) else (width, height))
    page.add(outline(region, width, height), text, ignore=ignore)
