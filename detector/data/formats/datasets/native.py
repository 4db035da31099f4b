"""This project's own JSON, which is the competition's (UFO): `images` by name, `words` by id.

`illegibility` is don't-care as `ignore` is. A page without `words` is unlabelled; one of none has
an empty object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.raw.label_file import LabelFile, repeated_keys
from detector.data.raw.labelled import Labelled, bad_page, image_name
from detector.data.raw.page_names import normal
from detector.data.raw.values import first_object
from detector.data.raw.written import json_text

SUFFIXES = (".json",)
_SHAPE = (
    '{"images": {"name.jpg": {"img_w", "img_h", "words": {"0001": {"points": [[x, y], ...]}}}}}'
)
_OF_PAGES = {"img_w", "img_h", "words", "tags", "license_tag"}
_LAST_COUNTS = "the last one is used"


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format; its first page and that one's first word tell."""
    content = file.json
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, dict) or "annotations" in content:
        return False
    page = first_object(images) or {}
    word = first_object(page.get("words")) or {}
    # Results of other programs have the same frame, but call these fields otherwise.
    others = ("width" in page and "img_w" not in page) or (
        "text" in word and "transcription" not in word
    )
    return not others and (not page or not _OF_PAGES.isdisjoint(page))


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words; of what is given twice the last one, as a fault."""
    content = file.json
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, dict):
        got = type(content).__name__
        if isinstance(content, dict):
            got = f"the keys {', '.join(sorted(map(shown, content))[:8]) or 'none'}"
        raise InputError(f"{file.path}: must be an object {_SHAPE}, got {got}")
    twice = repeated_keys(images)
    for name, raw in images.items():
        page = _page(name, raw)
        if name in twice:
            message = f"annotated more than once, {_LAST_COUNTS}"
            page.faults.insert(0, (None, "repeated-page", message))
        yield page


def write(pages: Sequence[Labelled], output: Path, root: Path) -> Iterator[tuple[Path, str]]:  # noqa: ARG001
    """One file; of don't-care words `ignore` is true."""
    images = {}
    for page in pages:
        name = normal(page.image)
        width, height = page.size or (None, None)
        images[name] = {"img_w": width, "img_h": height, "words": page.words}
    yield output, json_text({"images": images}) + "\n"


def _page(name: str, raw: Any) -> Labelled:
    if not isinstance(raw, dict):
        return bad_page(name, "a page must be an object with words", raw)
    words, size = raw.get("words"), (raw.get("img_w"), raw.get("img_h"))
    if words is not None and not isinstance(words, dict):
        rule = 'words must be an object {"0001": {"points": ...}}'
        return bad_page(name, rule, words, "bad-words")
    page = Labelled(image_name(name), size=None if size == (None, None) else size)
    if words is None:
        page.labelled = False
        return page
    page.words = {key: _word(word) for key, word in words.items()}
    message = f"the id occurs more than once, {_LAST_COUNTS}"
    page.faults += [(key, "repeated-id", message) for key in repeated_keys(words)]
    return page


def _word(raw: Any) -> Any:
    """The word, don't-care where it is illegible; a mark of the wrong type is for the check."""
    if isinstance(raw, dict) and raw.get("illegibility") and raw.get("ignore") is not True:
        return raw | {"ignore": raw["illegibility"]}
    return raw
