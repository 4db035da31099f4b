"""Keeping the record of a training: written when it starts, complete when its images are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.data.labels.annotations import Page, Split
from detector.training.storage.environment import read_code, read_environment
from detector.training.storage.fingerprint import Contents, fingerprint, sizes_of
from detector.training.storage.provenance import (
    RECORD,
    VERSION,
    Provenance,
    Weights,
    other_data,
    other_rounding,
    read_record,
    require_same,
    write_record,
)


def keep_record(
    folder: Path,
    config: TrainConfig,
    splits: tuple[Split, Split],
    weights: Weights | None,
    device: torch.device,
    *,
    expected: Provenance | None,
    log: Callable[[str], None],
) -> None:
    """Write `folder/record.json` when a training starts, without the digests of image contents.

    `splits` are those for training and validation, `weights` what it starts from, or None when a
    training is resumed: its record then stays, and what is no longer as it was then is logged.
    `expected` is the record of a training to repeat: raises InputError when data or weights are
    others, and logs what else differs.
    """
    own = None
    if weights is None:
        try:
            own = read_record(folder)
        except InputError as error:
            if expected is not None:
                raise
            log(str(error))
            return
        weights = own.weights
    now = observe(config, splits, weights, device)
    if expected is not None:
        require_same(expected, now)
    before = expected or own
    if before is not None:
        for line in [*other_data(before, now), *other_rounding(before, now)]:
            log(line)
    if own is None:
        write_record(folder, now)


@contextmanager
def reading_images(
    folder: Path,
    splits: tuple[Sequence[Page], Sequence[Page]],
    *,
    expected: Provenance | None,
    log: Callable[[str], None],
) -> Iterator[Callable[[], None]]:
    """Read the images of a training in a thread while the block runs, for its record.

    `splits` are the pages for training and validation. The block gets a function to call now and
    then: when all is read, it completes the record, logs what differs from a complete one and, for
    images that are not those of `expected`, raises InputError. The end of the block waits for that;
    where it is left by an exception the record stays as it is, for a resume to complete.
    """
    contents, looked = Contents(splits), False

    def look() -> None:
        nonlocal looked
        if not looked and not contents.left:
            looked = True
            _complete(folder, splits, contents.wait(), expected, log)

    try:
        yield look
        if contents.left:
            log(f"reading {contents.left} images for the digests in {folder / RECORD}")
        contents.wait()
        look()
    finally:
        contents.stop()


def _complete(
    folder: Path,
    splits: Sequence[Sequence[Page]],
    digests: Sequence[str],
    expected: Provenance | None,
    log: Callable[[str], None],
) -> None:
    try:
        own = read_record(folder)
    except InputError:
        return  # which was told when the training was resumed
    now = own.model_copy(
        update={
            name: getattr(own, name).model_copy(update={"images": digest})
            for name, digest in zip(("train", "val"), digests, strict=True)
        }
    )
    if expected is not None:
        require_same(expected, now)
    for line in other_data(own, now):
        log(line)
    same = [sizes_of(pages) for pages in splits] == [own.train.sizes, own.val.sizes]
    if same and None in (own.train.images, own.val.images):
        write_record(folder, now)


def observe(
    config: TrainConfig, splits: tuple[Split, Split], weights: Weights, device: torch.device
) -> Provenance:
    """What a training would be made from here and now."""
    return Provenance(
        version=VERSION,
        config=config,
        train=fingerprint(splits[0]),
        val=fingerprint(splits[1]),
        weights=weights,
        code=read_code(),
        environment=read_environment(device),
    )
