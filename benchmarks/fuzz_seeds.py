"""A small valid document of each label format that is JSON, to be changed and damaged."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fuzz_inputs import as_bytes, as_json

from detector.data.raw.label_file import LabelFile


@dataclass(frozen=True)
class Seed:
    """Documents of one format, and how they become files.

    names: of its label files below the dataset's folder, each of which gets a document.
    write: a document, also one that was changed, as the content of a file.
    words: how many words a file has at least, where that is simple to say.
    pieces: bytes that mean something in files of this kind.
    """

    names: tuple[str, ...]
    documents: tuple[Any, ...] = field(repr=False)
    write: Callable[[Any], bytes] = field(repr=False)
    words: Callable[[LabelFile], int] = field(default=lambda _: 0, repr=False)
    pieces: tuple[bytes, ...] = field(default=(), repr=False)


def below(path: str) -> Callable[[LabelFile], int]:
    """Counts what a JSON file has at a path of keys, `*` the items of a list and `%` those of an
    object; nothing without a path."""

    def count(file: LabelFile) -> int:
        found: list[Any] = [file.json]
        for key in path.split():
            kind: type[Any] = list if key == "*" else dict
            held = [value for value in found if isinstance(value, kind)]
            if key in "*%":
                found = [item for v in held for item in (v if kind is list else v.values())]
            else:
                found = [value[key] for value in held if key in value]
        return len(found) if path else 0

    return count


def pages(suffix: str, folder: str = "labels/train") -> tuple[str, ...]:
    """Names of label files that are called after their images."""
    return tuple(f"{folder}/{stem}{suffix}" for stem in ("a", "b"))


def _whole(document: Any, words: str = "") -> Seed:
    """A format that has one file for all images."""
    return Seed(("labels/train.json",), (document,), _json, below(words))


def each(document: Any, words: str = "") -> Seed:
    """A format that has a file for each image."""
    return Seed(pages(".json"), (document,), _json, below(words))


def _json(document: Any) -> bytes:
    return as_bytes(as_json(document))


def _json_lines(document: Any) -> bytes:
    lines = document if isinstance(document, list) else [document]
    return as_bytes("\n".join(map(as_json, lines)))


def _cord_lines(document: Any) -> bytes:
    """Lines of JSON, whose `ground_truth` is itself a JSON text."""
    lines = document if isinstance(document, list) else [document]
    truths = [line["ground_truth"] if isinstance(line, dict) and "ground_truth" in line else None
              for line in lines]  # fmt: skip
    return _json_lines(
        [
            line if truth is None else line | {"ground_truth": json.dumps(truth)}
            for line, truth in zip(lines, truths, strict=True)
        ]
    )


BOX = [[10, 20], [50, 20], [50.5, 40], [10, 40]]
OTHER = [[60, 50], [90, 50], [90, 60], [60, 60]]
CURVE = [[60, 5], [70, 3], [80, 5], [80, 12], [70, 10], [60, 12]]
FLAT, FLAT_OTHER = (list(itertools.chain(*points)) for points in (BOX, OTHER))
SIZE = {"width": 100, "height": 80}
SIDES = [10, 20, 40, 20]
WORD = {"points": BOX, "transcription": "합계", "language": ["ko"], "ignore": False}
PAGE = {"img_w": 100, "img_h": 80, "words": {"0001": WORD, "0002": {"points": CURVE}}}
QUAD = {"x1": 10, "y1": 20, "x2": 50, "y2": 20, "x3": 50, "y3": 40, "x4": 10, "y4": 40}
RECEIPT = {
    "meta": {"image_size": SIZE},
    "valid_line": [{"words": [{"quad": QUAD, "text": "합계"}], "category": "total"}],
    "repeating_symbol": [[{"quad": QUAD | {"y1": 10}, "text": "==="}]],
    "dontcare": [[QUAD | {"x1": 5}]],
    "roi": QUAD,
}
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg"} | SIZE, {"id": "2", "file_name": "b.png"}],
    "annotations": [
        {"image_id": 1, "category_id": 1, "segmentation": [FLAT], "text": "합계", "iscrowd": 0},
        {"image_id": 1, "bbox": SIDES, "attributes": {"ignore": True, "text": "a"}},
        {"image_id": 2, "segmentation": {"size": [80, 100], "counts": [810, 20, 60, 20, 7090]}},
        {"image_id": 2, "segmentation": {"size": [80, 100], "counts": "di0d0l1000lh6"}},
        {"image_id": 2, "segmentation": [FLAT, FLAT_OTHER], "iscrowd": 1},
    ],
    "categories": [{"id": 1, "name": "text"}],
}
COCO_TEXT = {
    "imgs": {"1": {"id": 1, "file_name": "a.jpg", "set": "train"} | SIZE},
    "anns": {
        "7": {"mask": FLAT, "image_id": 1, "utf8_string": "a", "legibility": "legible"},
        "8": {"bbox": SIDES, "points": FLAT_OTHER, "utf8_string": "."},
    },
    "imgToAnns": {"1": [7, 8]},
}
HIERTEXT = {
    "annotations": [
        {
            "image_id": "a",
            "image_width": 100,
            "image_height": 80,
            "paragraphs": [
                {"lines": [{"words": [{"vertices": BOX, "text": "합계", "legible": True}]}]},
                {"lines": [], "vertices": OTHER, "legible": False},
            ],
        }
    ]
}
MMOCR = {
    "metainfo": {"dataset_type": "TextDetDataset", "task_name": "textdet"},
    "data_list": [
        {
            "img_path": "a.jpg",
            "instances": [
                {"polygon": FLAT, "bbox": [1, 2, 3, 4], "text": "합계", "ignore": False},
                {"bbox": [60, 50, 90, 60], "ignore": 1},
            ],
        }
        | SIZE,
        {"img_path": "b.png", "instances": []},
    ],
}
FUNSD = {
    "form": [
        {"box": [10, 20, 90, 40], "words": [{"box": [10, 20, 50, 40], "text": "합계"}]},
        {"box": [10, 50, 90, 60], "words": [{"box": [60, 50, 90, 60], "text": ""}]},
    ]
}
DOCTR = {
    "a.jpg": {"img_dimensions": [80, 100], "polygons": [BOX, [BOX[i] for i in (0, 1, 3, 2)]]},
    "b.png": {"polygons": {"words": [OTHER], "dates": [CURVE]}},
}
LABELME = {
    "version": "5.0.1",
    "imagePath": "..\\..\\images\\train\\a.jpg",
    "imageWidth": 100,
    "imageHeight": 80,
    "shapes": [
        {"label": "합계", "points": BOX, "shape_type": "polygon", "flags": {"ignore": False}},
        {"label": "a", "points": [[60, 50], [90, 60]], "shape_type": "rectangle"},
        {"label": "b", "points": [[60, 50], [90, 60]], "shape_type": "line"},
    ],
}
PLACE = {"x": 10, "y": 20, "width": 40, "height": 30, "rotation": 15}
DRAWN = {"original_width": 100, "original_height": 80}
TASK = {
    "id": 5,
    "data": {"ocr": "/data/upload/1/0a1b2c3d-a.jpg"},
    "annotations": [
        {
            "id": 1,
            "updated_at": "2023-01-01",
            "result": [
                {"id": "r", "type": "rectangle", "value": PLACE} | DRAWN,
                {"id": "r", "type": "labels", "value": PLACE | {"labels": ["Text"]}} | DRAWN,
                {"id": "r", "type": "textarea", "value": PLACE | {"text": ["합계"]}} | DRAWN,
                {"id": "s", "type": "polygonlabels", "value": {"points": CURVE}} | DRAWN,
            ],
        },
        {"id": 2, "was_cancelled": True, "result": []},
    ],
}
TASK_MIN = {
    **{"ocr": "/data/upload/1/0a1b2c3d-a.jpg", "id": 5, "annotator": 1, "annotation_id": 2},
    "bbox": [PLACE | DRAWN, {"points": CURVE} | DRAWN],
    "label": [PLACE | DRAWN | {"labels": ["Text"]}],
    "transcription": ["합계", "a"],
}
VIA = {
    "_via_img_metadata": {
        "a.jpg1": {
            "filename": "a.jpg",
            "regions": [
                {
                    "shape_attributes": {"name": "rect", "x": 10, "y": 20} | SIZE,
                    "region_attributes": {"text": "합계", "ignore": {"yes": True}},
                },
                {
                    "shape_attributes": {
                        "name": "polygon",
                        "all_points_x": [60, 90, 90, 60],
                        "all_points_y": [50, 50, 60, 60],
                    },
                    "region_attributes": {"text": "a"},
                },
            ],
        },
    },
    "_via_settings": {"core": {"default_filepath": ""}},
    "_via_attributes": {"region": {"text": {"type": "text"}}},
}
NATIVE = {"images": {"a.jpg": PAGE, "b.png": PAGE | {"words": {}}, "c.jpg": PAGE}}
AIHUB_XY = {
    "Images": {"identifier": "a", "type": "jpg"} | SIZE,
    "Dataset": {},
    "bbox": [{"data": "합계", "x": [10, 10, 50, 50], "y": [20, 40, 20, 40]}],
}
AIHUB_OUTDOOR = {
    "images": [{"file_name": "d:\\old\\a.jpg"} | SIZE],
    "annotations": [{"text": "합계", "bbox": SIDES}, {"text": "xxx", "bbox": [1, 2, 3, 4]}],
    "metadata": [{"wordorientation": "가로"}],
}
AIHUB_POLYGONS = {
    "images": [SIZE | {"document_name": "a"}],
    "annotations": [{"polygons": [{"text": "합계", "points": BOX}, {"points": CURVE}]}],
}
AIHUB_DOTS = {
    "images": [{"image.file.name": "a.jpg", "image.width": 100, "image.height": "80"}],
    "annotations": [{"annotation.text": "합계", "annotation.bbox": SIDES}],
}
AIHUB_WILD = {
    "info": {"name": "Text in the wild Dataset"},
    "images": [{"id": 9, "file_name": "a.jpg", "type": "product"} | SIZE],
    "annotations": [
        {"image_id": 9, "text": "합계", "bbox": SIDES, "attributes": {"class": "word"}},
        {"image_id": "9", "text": "합", "bbox": SIDES, "attributes": {"class": "character"}},
        {"image_id": 9, "bbox": [60, 50, 30, 10], "attributes": {"class": "ignored"}},
    ],
}
SEEDS: dict[str, tuple[Seed, ...]] = {
    "native": (_whole(NATIVE, "images % words %"),),
    "aihub_ocr_xy": (each(AIHUB_XY, "bbox *"),),
    "aihub_outdoor": (each(AIHUB_OUTDOOR, "annotations *"),),
    "aihub_polygons": (each(AIHUB_POLYGONS, "annotations * polygons *"),),
    "aihub_public_docs": (each(AIHUB_DOTS, "annotations *"),),
    "aihub_textinthewild": (_whole(AIHUB_WILD, "annotations *"),),
    "coco": (_whole(COCO, "annotations *"),),
    "cocotext": (_whole(COCO_TEXT, "anns %"),),
    "cord": (
        Seed(
            ("train/metadata.jsonl",),
            ([{"file_name": n, "ground_truth": RECEIPT} for n in ("a.jpg", "b.png")],),
            _cord_lines,
        ),
        each(RECEIPT, "valid_line * words *"),
    ),
    "doctr": (_whole(DOCTR, "% polygons *"),),
    "funsd": (each(FUNSD, "form * words *"),),
    "hiertext": (
        _whole(HIERTEXT, "annotations * paragraphs * lines * words *"),
        Seed(("train.jsonl.gz",), (HIERTEXT,), lambda document: gzip.compress(_json(document), 1)),
    ),
    "mmocr": (_whole(MMOCR, "data_list * instances *"),),
    "labelme": (each(LABELME, "shapes *"),),
    "labelstudio": (_whole([TASK]),),
    "labelstudio_min": (_whole([TASK_MIN]),),
    "via": (_whole(VIA, "_via_img_metadata % regions *"), _whole(VIA["_via_img_metadata"])),
}
