"""What the names that people give classes and attributes mean: no care for a word, its text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_DONT_CARE = {
    *("ignore", "ignored", "dontcare", "donotcare", "difficult"),
    *("illegible", "unreadable", "notreadable", "unclear", "판독불가"),
}
_SET = {"true", "yes", "y", "on", "1"}
_UNSET = {"false", "no", "n", "off", "0", ""}
# What attributes with the text are called, the likeliest first.
_TEXT = (
    *("text", "transcription", "transcript", "ocr", "ocrtext", "textcontent", "content"),
    *("string", "utf8string", "value", "word", "words", "reading", "caption"),
    *("텍스트", "전사", "글자", "문자", "내용"),
)
_ABOUT_TEXT = {
    *("comment", "comments", "note", "notes", "remark", "remarks", "id", "type", "class"),
    *("language", "lang", "script", "font", "color", "colour", "orientation", "direction"),
    *("rotation", "pose", "quality", "score", "confidence", "trackid", "source", "name"),
}


def is_dont_care(name: Any) -> bool:
    """Whether a class or attribute of that name marks what counts neither way."""
    return isinstance(name, str) and (name.strip() == "###" or _plain(name) in _DONT_CARE)


def is_set(value: Any) -> bool:
    """Whether a checkbox is ticked: true, `"yes"`, 1, or an object with something ticked."""
    if isinstance(value, Mapping):
        return any(is_set(item) for item in value.values())
    if isinstance(value, str):
        return value.strip().casefold() in _SET
    return isinstance(value, bool | int | float) and value == 1


def is_marked(attributes: Any, text_name: str | None = None) -> bool:
    """Whether attributes besides that with the text say don't-care, by name or by value."""
    if not isinstance(attributes, Mapping):
        return False
    return any(
        (is_dont_care(name) and is_set(value)) or _chosen(value)
        for name, value in attributes.items()
        if name != text_name
    )


def text_name(names: Iterable[str], free: Iterable[str] | None = None) -> str | None:
    """The attribute that holds the text of a word.

    That with a usual name, else the first of those that can hold any text (of all, unless `free`
    says which) whose name does not say that it is something else.
    """
    names = list(names)
    usual = [name for known in _TEXT for name in names if _plain(name) == known]
    others = [
        name
        for name in (names if free is None else free)
        if not is_dont_care(name) and _plain(name) not in _ABOUT_TEXT
    ]
    return next(iter(usual + others), None)


def used_text_name(attributes: Iterable[Any]) -> str | None:
    """As `text_name`, from the attributes of all words: those that can hold any text are not only
    yes or no."""
    answers = _SET | _UNSET
    free: dict[str, bool] = {}
    for one in attributes:
        for name, value in one.items() if isinstance(one, Mapping) else ():
            is_text = isinstance(value, str) and value.strip().casefold() not in answers
            free[name] = free.get(name, False) or is_text
    return text_name(free, [name for name, is_free in free.items() if is_free])


def _chosen(value: Any) -> bool:
    """Whether an option like `illegible` is chosen of a list or ticked."""
    if isinstance(value, Mapping):
        return any(is_dont_care(name) and is_set(item) for name, item in value.items())
    return is_dont_care(value)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
