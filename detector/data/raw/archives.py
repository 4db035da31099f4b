"""The files of a zip, unpacked in memory up to a limit."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from detector.core.errors import InputError
from detector.core.plain import JSON_BYTES
from detector.data.raw.label_file import LabelFile, is_korean

_MOST_BYTES = JSON_BYTES  # of all the files together
_IS_UTF_8 = 0x800  # bit 11 of a file's flags, of its name
_FAULTS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def zip_files(path: Path, is_wanted: Callable[[PurePosixPath], bool]) -> list[LabelFile]:
    """The files of a zip whose names are wanted, by name.

    A name that is not said to be UTF-8 may be it all the same, or CP949, as Korean Windows writes.

    Raises InputError for what is no zip, and where they have more bytes than are read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = [(PurePosixPath(_name(info).lstrip("/")), info) for info in archive.infolist()]
            found = [(n, info) for n, info in found if is_wanted(n) and not info.is_dir()]
            # No more than the size in the directory is unpacked, whatever the data say.
            if sum(info.file_size for _, info in found) > _MOST_BYTES:
                raise InputError(f"{path}: its files have more than {_MOST_BYTES} bytes; split it")
            files = [LabelFile(path / name, name, archive.read(info)) for name, info in found]
            return sorted(files, key=lambda file: file.name)
    except InputError:
        raise
    except (*_FAULTS, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable zip file: {error}") from None


def _name(info: zipfile.ZipInfo) -> str:
    """The name of a file; zipfile reads what is not said to be UTF-8 as CP437."""
    if not info.flag_bits & _IS_UTF_8:
        name = info.filename.encode("cp437")
        with suppress(UnicodeDecodeError):
            return name.decode("utf-8")
        with suppress(UnicodeDecodeError):
            if is_korean(korean := name.decode("cp949")):
                return korean
    return info.filename
