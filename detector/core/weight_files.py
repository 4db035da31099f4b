"""Tensors with their metadata in safetensors files: replaced atomically, with a checksum."""

from __future__ import annotations

import json
import mmap
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from detector.core.errors import InputError
from detector.core.files import replacing


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    plain = {k: v.detach().to("cpu", copy=False).contiguous() for k, v in tensors.items()}
    buffers = ((k, v.reshape(-1).view(torch.uint8).numpy().data) for k, v in plain.items())
    with replacing(path) as temporary:
        save_file(plain, temporary, metadata | {CHECKSUM: checksum(buffers)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    # Readers raise almost anything on damage: an unknown dtype or a size beyond 64 bits.
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None


def metadata_of(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, whose tensors are not read."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None


CHECKSUM = "crc32"  # in the metadata of a file, see `checksum`


def fault_of(path: Path) -> str | None:
    """What is wrong with a safetensors file, read whole; None when its content is as written.

    Files from before there were checksums pass when their layout is right.
    """
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return _fault(memoryview(content))
    except ValueError:
        return "it is empty"
    except OSError as error:
        return error.strerror or type(error).__name__


def _fault(content: memoryview) -> str | None:
    """Its layout: 8 bytes with the length of a JSON header, which has each tensor's place."""
    with content:
        start = 8 + int.from_bytes(content[:8], "little")
        if start > len(content):
            return "its header is cut off"
        try:
            header = json.loads(bytes(content[8:start]))
            metadata = header.pop("__metadata__", {})
            places = {name: entry["data_offsets"] for name, entry in header.items()}
            size = start + max((end for _, end in places.values()), default=0)
            if size != len(content):
                return f"it has {len(content)} bytes and should have {size}"
            if CHECKSUM not in metadata:
                return None
            parts = ((n, content[start + a : start + b]) for n, (a, b) in places.items())
            whole = checksum(parts) == metadata[CHECKSUM]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return "its header is not that of a safetensors file"
        return None if whole else "its content is not what was written"


def checksum(tensors: Iterable[tuple[str, memoryview]]) -> str:
    """A CRC-32 of named buffers, whatever their order: it finds damage, not forgery."""
    lines = sorted(f"{name} {zlib.crc32(data):08x}" for name, data in tensors)
    return f"{zlib.crc32(chr(10).join(lines).encode()):08x}"


MOST_SHOWN = 5  # faults in one message


def misfits(model: nn.Module, tensors: Mapping[str, Tensor], *, exact: bool) -> list[str]:
    """How `tensors` differ from what `model` takes, one text each; none when they fit.

    With `exact` the dtypes must be the same, else only their kind, floats or not.
    """
    own = model.state_dict()
    faults = [f"missing {k}" for k in own if k not in tensors]
    faults += [f"unexpected {k}" for k in tensors if k not in own]
    for key, value in own.items():
        if key in tensors:
            faults += [f"{key} is {text}" for text in _differences(value, tensors[key], exact)]
    return faults


def _differences(own: Tensor, given: Tensor, exact: bool) -> Iterator[str]:
    if given.shape != own.shape:
        yield f"{tuple(given.shape)} instead of {tuple(own.shape)}"
    same = given.dtype == own.dtype
    if not same and (exact or given.is_floating_point() != own.is_floating_point()):
        yield f"{given.dtype} instead of {own.dtype}"
    elif not is_finite(given):
        yield "not finite"


def is_finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(value.isfinite().all())


def listed(faults: Sequence[str]) -> str:
    """The first faults on one line."""
    more = f" and {len(faults) - MOST_SHOWN} more" if len(faults) > MOST_SHOWN else ""
    return "; ".join(faults[:MOST_SHOWN]) + more
