"""Pascal VOC: an XML file an image, in a folder beside that of the images, with the same stem.

There is no text but what CVAT writes as an attribute. Numbers are kept as they are written, though
the first VOC counts from 1: most tools do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element

from detector.core.errors import InputError
from detector.data.raw.images import path_of
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.marks import is_dont_care, is_marked, is_set, used_text_name
from detector.data.raw.shapes import box_of_corners

SUFFIXES = (".xml",)
# Lists of the images of a split, and CVAT's list of classes.
ASIDE = ("imagesets/*/*.txt", "imagesets/*.txt", "labelmap.txt")


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    root = file.xml
    return root.tag == "annotation" and any(
        root.find(tag) is not None for tag in ("object", "size", "filename")
    )


def read(file: LabelFile) -> Iterator[Labelled]:
    """The image of the file, by the file's own name before what it says, with its words."""
    if not claims(file):
        raise InputError(f"{file.path}: not of Pascal VOC: must be <annotation> with <object>s")
    root = file.xml
    said = [path_of((root.findtext(tag) or "").strip()) for tag in ("filename", "path")]
    stem = str(file.name.with_suffix(""))
    size = root.findtext("size/width"), root.findtext("size/height")
    page = Labelled(
        stem + PurePosixPath(said[0]).suffix,
        others=(stem, *filter(None, said)),
        size=None if None in size else size,
    )
    objects = root.findall("object")
    text = used_text_name(_attributes(item) for item in objects)
    for item in objects:
        _add(page, item, text)
    yield page


def _attributes(item: Element) -> dict[str, str]:
    return {
        one.findtext("name") or "": one.findtext("value") or ""
        for one in item.iterfind("attributes/attribute")
    }


def _add(page: Labelled, item: Element, text: str | None) -> None:
    # a part of an object has a box of its own
    corners = [item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    if parts := len(item.findall("part")):
        page.left_out["part"] += parts
    attributes = _attributes(item)
    marked = is_dont_care(item.findtext("name")) or is_marked(attributes, text)
    ignore = marked or is_set(item.findtext("difficult"))
    page.add(box_of_corners(*corners), attributes.get(text or ""), ignore=ignore)
