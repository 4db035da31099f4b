"""Text that others wrote, shown without what it could do to a terminal, a spreadsheet or a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_SHOWN = 120  # characters of a received value in a message


def printable(text: str) -> str:
    r"""`text` with control characters escaped (`\x1b`), so that no terminal obeys them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """`printable`, but the line breaks stay."""
    return "\n".join(map(printable, text.split("\n")))


def encodable(text: str) -> str:
    r"""`text` as UTF-8 can hold it.

    File names that are not UTF-8 reach Python as lone surrogates; they become `\udc80`, which
    JSON reads back as what it was.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def csv_cell(value: Any) -> Any:
    """A CSV cell; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    if not isinstance(value, str):
        return value
    return f"'{value}" if _is_formula(value) else value


def csv_text(cell: str) -> str:
    """The inverse of `csv_cell` for text."""
    return cell[1:] if cell[:1] == "'" and _is_formula(cell[1:]) else cell


def shown(value: Any) -> str:
    """A received value for a message: its `repr`, cut when it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = "a number of thousands of digits"
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def some(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _is_formula(text: str) -> bool:
    return text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA)
