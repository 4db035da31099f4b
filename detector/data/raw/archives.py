"""The files of a zip, unpacked in memory up to a limit."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from detector.core.errors import InputError
from detector.core.plain import JSON_BYTES
from detector.data.raw.label_file import LabelFile

_MOST_BYTES = JSON_BYTES  # of all the files together
_FAULTS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def zip_files(path: Path, is_wanted: Callable[[PurePosixPath], bool]) -> list[LabelFile]:
    """The files of a zip whose names are wanted, by name.

    Raises InputError for what is no zip, and where they have more bytes than are read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = [(PurePosixPath(info.filename), info) for info in archive.infolist()]
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
