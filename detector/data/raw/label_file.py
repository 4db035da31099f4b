"""A label file on its way to words: bytes of bounded size, text in an encoding that is found."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from detector.core.errors import InputError
from detector.core.plain import JSON_BYTES, parse_json, read_bounded

_BYTE_ORDER = "\ufeff"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class LabelFile:
    """A file that may hold labels. `name` is its path below the dataset's folder.

    `packed` is what it holds where it is no file of its own but one in an archive. What it holds
    is read when it is asked for, and kept until `forget`. All properties raise InputError, naming
    the file, for one that cannot be read or is not of that kind.
    """

    path: Path
    name: PurePosixPath
    packed: bytes | None = field(default=None, repr=False)

    @cached_property
    def content(self) -> bytes:
        """The bytes of the file, unpacked where its name ends in `.gz`."""
        try:
            content = read_bounded(self.path, JSON_BYTES) if self.packed is None else self.packed
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from None
        return _unpacked(content, self.path) if self.path.suffix.lower() == ".gz" else content

    @cached_property
    def decoded(self) -> tuple[str, str]:
        """The text without a byte order mark, and the encoding that was found.

        UTF-8 and UTF-16 by their marks, else UTF-8, CP949 (Korean) or Latin-1: the first that
        the whole file is, and CP949 only with more common syllables than rare ones.
        """
        for mark, encoding in _MARKS:
            if self.content.startswith(mark):
                return _decoded(self.content, encoding, self.path), encoding
        for encoding in ("utf-8", "cp949"):
            try:
                text = self.content.decode(encoding)
            except UnicodeDecodeError:
                continue
            if encoding == "utf-8" or is_korean(text):
                return text, encoding
        return self.content.decode("latin-1"), "latin-1"

    @property
    def text(self) -> str:
        return self.decoded[0]

    @cached_property
    def lines(self) -> tuple[tuple[int, str], ...]:
        """Lines that are not blank with their numbers, whatever ends them.

        Of files that were joined each has brought byte order marks, which are left out.
        """
        # splitlines() would also part at form feeds and other rare characters, which are text
        rows = self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if _BYTE_ORDER in self.text:
            rows = [row.lstrip(_BYTE_ORDER) for row in rows]
        return tuple([(number, row) for number, row in enumerate(rows, 1) if row.strip()])

    @cached_property
    def json(self) -> Any:
        """The value of a JSON file; of repeated keys the last one counts, see `repeated_keys`."""
        return parse_json(self.text.lstrip(_BYTE_ORDER), str(self.path), hook=_object)

    @cached_property
    def json_lines(self) -> tuple[tuple[int, Any], ...]:
        """The values of a file with a JSON text a line, with their numbers."""
        return tuple((n, parse_json(row, f"{self.path}: line {n}")) for n, row in self.lines)

    @cached_property
    def xml(self) -> ElementTree.Element:
        """The root of an XML file, tags without namespaces; no entities, nothing from outside."""
        return _parsed_xml(self.content, self.path)

    def forget(self) -> None:
        """Drop what has been read, as of thousands of files that are looked at one by one."""
        for name in ("content", "decoded", "lines", "json", "json_lines", "xml"):
            self.__dict__.pop(name, None)


class _Repeating(dict[str, Any]):
    """An object of a JSON file in which keys occur more than once."""

    repeated: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    result = _Repeating(plain)
    counts = Counter(key for key, _ in pairs)
    result.repeated = tuple(key for key, count in counts.items() if count > 1)
    return result


def repeated_keys(value: dict[str, Any]) -> tuple[str, ...]:
    """The keys that occur more than once in an object of a JSON file."""
    return value.repeated if isinstance(value, _Repeating) else ()


def is_korean(text: str) -> bool:
    """Whether most of a text's characters in CP949 are of its common ones.

    The rare ones have a second byte below 0xA1, as where an accented letter of Latin-1 and the
    letter after it were taken for one syllable.
    """
    wide = [pair for pair in (c.encode("cp949") for c in text if not c.isascii()) if len(pair) == 2]
    return 2 * sum(pair[1] >= 0xA1 for pair in wide) > len(wide)


def _unpacked(content: bytes, path: Path) -> bytes:
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(JSON_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a readable gzip file: {error}") from None
    if len(unpacked) > JSON_BYTES:
        raise InputError(f"{path}: has more than {JSON_BYTES} bytes unpacked; split it")
    return unpacked


def _decoded(content: bytes, encoding: str, path: Path) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: begins as {encoding} and is not: {error.reason}; save it as UTF-8"
        ) from None


class _RefusedError(Exception):
    """Something in an XML file that is not read."""


def _parsed_xml(content: bytes, path: Path) -> ElementTree.Element:
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")

    def start(tag: str, attributes: dict[str, str]) -> None:
        plain = {key.rpartition("}")[2]: value for key, value in attributes.items()}
        builder.start(tag.rpartition("}")[2], plain)

    def refuse(*_: Any) -> None:
        raise _RefusedError

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: builder.end(tag.rpartition("}")[2])
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse
    parser.buffer_text = True
    try:
        parser.Parse(content, True)
        return builder.close()
    except _RefusedError:
        raise InputError(
            f"{path}: declares XML entities, which are not read; write the characters themselves"
        ) from None
    except (expat.ExpatError, AssertionError, ValueError, LookupError) as error:
        raise InputError(f"{path}: not valid XML: {error}; correct it there") from None
