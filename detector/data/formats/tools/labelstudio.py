"""Label Studio, its full JSON export: a list of tasks with `data` and `annotations`.

Places are in percent of the upright image. A region is several results with one id: its place,
its class, its text. Boxes are turned about their top left corner, in pixels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from detector.core.errors import InputError
from detector.data.page.images import is_called_image
from detector.data.raw.images import path_of
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.marks import is_dont_care, is_set
from detector.data.raw.shapes import are_points, box_of_size, numbers, scaled, turned
from detector.data.raw.written import json_text, leave_out

SUFFIXES = (".json",)
_RESULTS = ("annotations", "completions")  # the second name until version 1.0
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
_PLACES = {"points", "x", "width"}
_WORDS = ("rectangle", "polygon")  # also `rectanglelabels`, `polygonlabels`
# Kinds of results that say something of a region and do not make one.
_ABOUT = {"labels", "textarea", "choices", "taxonomy", "rating", "number", "relation"}


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    tasks = _tasks(file.json)
    return bool(tasks) and all(
        isinstance(task, dict)
        and isinstance(task.get("data"), dict)
        and any(isinstance(task.get(key), list) for key in _RESULTS)
        for task in tasks
    )


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words, of the newest annotation that is not cancelled."""
    if not claims(file):
        raise InputError(
            f"{file.path}: not a JSON export of Label Studio: must be a list of tasks with `data` "
            "and `annotations`"
        )
    for task in _tasks(file.json):
        image, *others = image_names(image_of(task["data"].values()), task.get("file_upload"))
        page = Labelled(image, tuple(others), unit="fraction")
        for result in _live_results(task, page):
            _add(page, result)
        yield page


def write(pages: Sequence[Labelled], output: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """One file to import, for the tool's template for OCR, whose tags have these names.

    Images are served from the disk, below the folder that `root` lies in.
    """
    tasks = []
    for page in pages:
        leave_out(page, "language", "orientation")
        path = quote(os.fsencode(f"{root.name}/{page.image}"))
        result = [part for key, word in page.words.items() for part in _region(page, key, word)]
        data = {"ocr": f"/data/local-files/?d={path}"}
        tasks.append({"data": data, "annotations": [{"result": result}]})
    yield output, json_text(tasks) + "\n"


def _region(page: Labelled, key: str, word: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The results that make a word: its polygon, its class, its text."""
    width, height = page.size or (1, 1)
    points = [[100 * x / width, 100 * y / height] for x, y in word["points"]]
    parts: dict[tuple[str, str], dict[str, Any]] = {
        ("poly", "polygon"): {},
        ("label", "labels"): {"labels": ["Ignore" if word["ignore"] else "Text"]},
        ("transcription", "textarea"): {"text": [word["transcription"]]},
    }
    for (name, kind), value in parts.items():
        if value != {"text": [""]}:
            size = {"original_width": width, "original_height": height, "image_rotation": 0}
            names = {"id": key, "type": kind, "from_name": name, "to_name": "image"}
            yield names | size | {"value": {"points": points, "closed": True} | value}


def image_of(values: Iterable[Any]) -> str:
    """The one of the values of a task's data that names the image."""
    texts = [text for text in values if isinstance(text, str)]
    images = [t for t in texts if is_called_image(PurePosixPath(path_of(t)))]
    return (images or [t for t in texts if "/" in t] or texts or [""])[0]


def image_names(reference: str, upload: Any = None) -> list[str]:
    """What the image of a task may be called, the surest first; never empty.

    upload: the name of an uploaded file, which has eight digits before the name it came with.
    """
    paths = [unquote(path_of(reference)), path_of(reference), path_of(upload)]
    bare = [_UPLOADED.sub("", PurePosixPath(path).name, count=1) for path in paths]
    return list(dict.fromkeys(name for name in paths + bare if name)) or [""]


def outline(value: Mapping[str, Any], width: Any, height: Any) -> Any:
    """The points of a region as fractions of an image of `width` x `height` pixels.

    What is malformed is given back as it is.
    """
    if "points" in value:
        return scaled(value["points"], 100, 100)
    box = box_of_size(*(value.get(key) for key in ("x", "y", "width", "height")))
    degrees = value.get("rotation") or 0
    if degrees == 0 or not are_points(box):
        return scaled(box, 100, 100)
    size = numbers([width, height])
    if size is None or min(size) <= 0:
        return dict(value)  # without the image's shape it is unknown how a box is turned
    pixels = scaled(box, 100 / size[0], 100 / size[1])
    return scaled(turned(pixels, degrees, (pixels[0][0], pixels[0][1])), *size)


def classes(value: Mapping[str, Any]) -> list[Any]:
    """The names of classes and options that the value of a result has."""
    lists = [value[key] for key in value if key.endswith("labels") or key == "choices"]
    return [name for names in lists for name in (names if isinstance(names, list) else [names])]


def joined(text: Any) -> Any:
    """The text of a region, which may be in several lines."""
    lines = text if isinstance(text, list) else [text]
    return "\n".join(lines) if all(isinstance(line, str) for line in lines) else text


def newest(one: Mapping[str, Any]) -> tuple[str, float]:
    """By which annotations sort: the time of the last change, the number."""
    number = numbers([one.get("annotation_id", one.get("id"))]) or [0.0]
    return str(one.get("updated_at") or one.get("created_at") or ""), number[0]


def _tasks(content: Any) -> list[Any]:
    if isinstance(content, dict):
        return [content]
    return content if isinstance(content, list) else []


def _live_results(task: Mapping[str, Any], page: Labelled) -> Iterator[list[dict[str, Any]]]:
    """The results of each region of the annotation that counts, in the order of the file."""
    lists = [task[key] for key in _RESULTS if isinstance(task.get(key), list)]
    made = [one for annotations in lists for one in annotations if isinstance(one, dict)]
    live = [one for one in made if not is_set(one.get("was_cancelled"))]
    counts = {
        "cancelled annotation": len(made) - len(live),
        "older annotation": len(live) - 1,
        "task without annotation": int(not made),
    }
    page.left_out.update({reason: count for reason, count in counts.items() if count > 0})
    page.labelled = bool(live)  # of a task that was skipped nobody knows the words
    results = max(live, key=newest).get("result") if live else None
    regions: dict[str, list[dict[str, Any]]] = {}
    for number, result in enumerate(results if isinstance(results, list) else []):
        if isinstance(result, dict):
            regions.setdefault(str(result.get("id") or number), []).append(result)
        else:
            page.add(result)
    yield from regions.values()


def _add(page: Labelled, results: list[dict[str, Any]]) -> None:
    """Add the region that is made of these results, or count what it is."""
    values = [r["value"] if isinstance(r.get("value"), dict) else {} for r in results]
    placed = [number for number, value in enumerate(values) if not _PLACES.isdisjoint(value)]
    kinds = [str(result.get("type")) for result in results]
    shapes = [kind for kind in kinds if kind not in _ABOUT]
    if not all(kind.startswith(_WORDS) for kind in shapes) or not (shapes or placed):
        page.left_out[(shapes or kinds)[0]] += 1
        return
    number = placed[0] if placed else 0
    width, height = (results[number].get(f"original_{side}") for side in ("width", "height"))
    page.size = page.size or (None if None in (width, height) else (width, height))
    points = outline(values[number], width, height)
    rotation = results[number].get("image_rotation")
    if rotation:  # where the places of an image that was turned in the tool count from is unsure
        points = f"image_rotation {rotation}"
    text = next((joined(value["text"]) for value in values if "text" in value), None)
    ignore = any(is_dont_care(name) for value in values for name in classes(value))
    page.add(points, text, ignore=ignore)
