"""The competition's annotation file: one JSON object per split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.core.plain import JSON_BYTES, parse_json, read_bounded
from detector.data.labels.pages import Entry, Fault, fault

_SHAPE = (
    '{"images": {"name.jpg": {"img_w", "img_h", "words": {"0001": {"points": [[x, y], ...]}}}}}'
)


class _Object(dict[str, Any]):
    """A JSON object that remembers the keys that occurred more than once."""

    repeated: tuple[str, ...] = ()


def read_json(path: Path) -> tuple[list[Entry], list[Fault]]:
    """Every page of `jsons/{split}.json` as annotated, with the faults seen so far.

    A name given twice keeps its last value, as JSON readers do, and is a fault. Raises
    InputError (file, line, column, remedy) when the file is not JSON or not of the
    competition's shape.
    """
    content = _parse(path)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, _Object):
        if isinstance(content, dict):
            got = f"the keys {', '.join(sorted(map(shown, content))[:8]) or 'none'}"
        else:
            got = type(content).__name__
        raise InputError(f"{path}: must be an object {_SHAPE}, got {got}")
    faults = [
        fault(name, None, "repeated-page", "annotated more than once, the last one is used")
        for name in images.repeated
    ]
    entries = []
    for name, raw in images.items():
        entry, found = _entry(name, raw)
        entries.append(entry)
        faults += found
    return entries, faults


def _entry(name: str, raw: Any) -> tuple[Entry, list[Fault]]:
    if not isinstance(raw, dict):
        message = f"a page must be an object with words, got {type(raw).__name__}"
        return Entry(name, None, usable=False), [fault(name, None, "bad-page", message)]
    words = raw.get("words")
    if words is not None and not isinstance(words, _Object):
        message = (
            f'words must be an object {{"0001": {{"points": ...}}}}, got {type(words).__name__}'
        )
        return Entry(name, None, usable=False), [fault(name, None, "bad-words", message)]
    size = (raw.get("img_w"), raw.get("img_h"))
    faults = [
        fault(name, key, "repeated-id", "the id occurs more than once, the last one is used")
        for key in (words.repeated if words is not None else ())
    ]
    return Entry(name, words, None if size == (None, None) else size), faults


def _parse(path: Path) -> Any:
    try:
        text = read_bounded(path, JSON_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None
    return parse_json(text, str(path), hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    result = _Object(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        result.repeated = tuple({key: None for key, _ in pairs if key in seen or seen.add(key)})  # type: ignore[func-returns-value]
    return result
