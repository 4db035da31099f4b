"""Values of JSON files of any shape: reading on where something is not what it should be.

What is wrong in a word stays where it is, so that the check of words can show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.core.errors import InputError
from detector.data.raw.label_file import LabelFile

_NO = {"", "0", "0.0", "false", "no", "none"}
_YES = {"1", "1.0", "true", "yes"}


def field(value: Any, *keys: str) -> Any:
    """What an object has under the first of the keys that it has; None for what is no object."""
    if isinstance(value, dict):
        for key in keys:
            if value.get(key) is not None:
                return value[key]
    return None


def listed(value: Any) -> list[Any]:
    """A list as it is; nothing for None; of anything else a list, as of one bad item."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def nested(value: Any, *keys: str) -> Iterator[Any]:
    """The items of the lists inside lists that are reached by the keys.

    An item on the way that is no object is itself one of them, so that it is told and not lost.
    """
    for item in listed(value):
        if keys and isinstance(item, dict):
            yield from nested(item.get(keys[0]), *keys[1:])
        else:
            yield item


def first_object(items: Any) -> dict[str, Any] | None:
    """The first object of a list or of an object's values."""
    if isinstance(items, dict):
        items = items.values()
    elif not isinstance(items, list):
        return None
    return next((item for item in items if isinstance(item, dict)), None)


def flag(value: Any) -> Any:
    """A yes or no as files write them (true, 1, "1", "false"); anything else as it stands."""
    text = str(value).strip().lower()
    return True if text in _YES else False if text in _NO else value


def list_in(file: LabelFile, key: str) -> list[Any]:
    """The list under a key of a JSON file; InputError when it is no object with one."""
    found = field(file.json, key)
    if not isinstance(found, list):
        raise InputError(
            f"{file.path}: must be an object with a list {key}, got {type(found).__name__}; "
            "write it again or take the file away"
        )
    return found
