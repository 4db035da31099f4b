"""What the writers of formats share: JSON as text, and what of a word a format has no place for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detector.core.escape import encodable
from detector.data.page.pdf import file_of
from detector.data.raw.labelled import Labelled


def json_text(value: Any, indent: int | None = 1) -> str:
    """A JSON value as UTF-8 can hold it."""
    return encodable(json.dumps(value, ensure_ascii=False, indent=indent))


def beside(page: Labelled, folder: Path, name: str) -> Path:
    """The file `name` below a folder, in the page's own folder there; `{}` is the image's stem.

    Of a page of a PDF it is the whole name, which no other page has.
    """
    image = folder / page.image
    return image.with_name(name.format(image.stem if file_of(image) == image else image.name))


def leave_out(page: Labelled, *keys: str) -> None:
    """Count the words that have something under a key for which there is no place."""
    for key in keys:
        count = sum(bool(word.get(key)) for word in page.words.values())
        page.left_out.update({key: count} if count else {})


def text_where_dont_care_is_text(page: Labelled, word: dict[str, Any], told: bool) -> str:
    """The text of a word in a format whose only mark for don't-care is the text itself.

    told: whether the word's own text is such a mark there.
    """
    text: str = word["transcription"]
    if word["ignore"] == told:
        return text
    if text:
        page.left_out["text that means don't-care" if told else "text of a don't-care word"] += 1
    return "" if told else "###"
