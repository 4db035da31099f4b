"""One training of a table: its scores epoch by epoch, in files that a stopped one goes on from."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from recorded_points import TRIED

from detector.config.settings import PostprocessConfig, TrainConfig
from detector.core.errors import InputError, JobError
from detector.core.files import replacing, write_text
from detector.core.weight_files import metadata_of
from detector.data.labels.annotations import read_split
from detector.data.labels.pages import Page, evenly_spaced
from detector.inference.detector import load_detector
from detector.inference.evaluation import page_maps
from detector.postprocess.sweep import PageSweeper, grid
from detector.postprocess.sweep_scores import SweepScores, second_half
from detector.training.epoch_end import EpochReport
from detector.training.storage.generations import newest_state
from detector.training.storage.state_check import read_state_record
from detector.training.trainer import train

LEVELS = 65535  # of a mean H-mean
PAGE_LEVELS = 65534  # of a page's, beside which there is
BLANK = 65535  # a page without a word or a detection
NOT_FINITE = "the loss is not finite"  # how the message of a training that broke down begins
RECORDED = "recorded.npz"  # what a training leaves in its folder
ARRAYS = ("hmeans", "choices", "pages", "heldout", "scores", "shipped", "seconds")


def record(config: TrainConfig, place: Path, heldout: Sequence[Page]) -> Path:
    """Train in the folder `place`, or go on with it; the file of its `ARRAYS`, an epoch a row.

    What only a resume needs is deleted in the end. A training whose loss is not finite has epochs
    that found nothing from there on, and a `failed.txt`.
    """
    done = place / RECORDED
    if done.is_file():
        return done
    torch.set_num_threads(1)
    cv2.setNumThreads(0)

    clock = [time.process_time()]

    def keep(report: EpochReport) -> None:
        before = _read(_epoch_file(place, report.epoch - 1))
        spent = time.process_time() - clock[0] + float(before.get("seconds", 0.0))
        values = _kept(report, heldout, before) | {"seconds": np.float32(spent)}
        save(_epoch_file(place, report.epoch), values)
        clock[0] = time.process_time()

    _step_back(place)
    try:
        train(config, place, report=keep, resume=True, log=lambda _: None)
    except JobError as error:
        if NOT_FINITE not in str(error):
            raise
        write_text(place / "failed.txt", f"{error}\n")
    save(done, _gathered(config, place, len(heldout)))
    shutil.rmtree(place / "checkpoint", ignore_errors=True)
    return done


def _gathered(config: TrainConfig, place: Path, heldout: int) -> dict[str, Any]:
    """The files of all epochs as `ARRAYS`, and how many there were before one that broke down."""
    epochs = range(1, config.train.epochs + 1)
    rows = [_read(path) for path in map(partial(_epoch_file, place), epochs) if path.is_file()]
    trained = len(rows)
    for _ in epochs[trained:]:  # a search would be told nothing more
        before = rows[-1] if rows else {}
        rows.append(before | _nothing(config, heldout, before))
    arrays = {key: np.stack([row[key] for row in rows]) for key in ARRAYS}
    return arrays | {"failed": np.uint8(trained)}


def _epoch_file(place: Path, epoch: int) -> Path:
    return place / f"epoch-{epoch}.npz"


def _read(path: Path) -> dict[str, Any]:
    """The arrays of a file; none where there is no file."""
    if not path.is_file():
        return {}
    with np.load(path) as file:
        return dict(file)


def _step_back(place: Path) -> None:
    """Have an epoch trained again that was trained and whose scores a kill kept from being kept."""
    checkpoint = place / "checkpoint"
    last = newest_state(checkpoint, lambda _: None)
    while last is not None:
        epoch = read_state_record(last, metadata_of(last)).epoch
        if _epoch_file(place, epoch).is_file():
            return
        last.unlink()
        last = newest_state(checkpoint, lambda _: None)


def _nothing(config: TrainConfig, heldout: int, before: Mapping[str, Any]) -> dict[str, Any]:
    """The row of an epoch that found nothing, but for what stays as `before`."""
    settings = len(grid(config.postprocess, TRIED))
    row = {
        "hmeans": np.zeros((2, settings), np.uint16),
        "choices": np.zeros(3, np.uint16),
        "pages": np.zeros((3, config.data.val_pages or 0), np.uint16),
        "scores": np.float32(0),
    }
    if before:
        return row
    kept = {"heldout": np.zeros((3, heldout), np.uint16), "shipped": np.uint8(1)}
    return row | kept | {"seconds": np.float32(0)}


def _kept(
    report: EpochReport, heldout: Sequence[Page], before: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of an epoch in each of `ARRAYS` but its seconds; `before` is that before it."""
    swept = report.swept
    assert swept is not None
    best, choices = int(report.metrics["best_epoch"]), chosen(swept)
    if best == report.epoch:
        scores = heldout_levels(report.checkpoint, [swept.settings[i] for i in choices], heldout)
    else:
        scores = before["heldout"]
    return {
        "hmeans": halves(swept),
        "choices": np.array(choices, np.uint16),
        "pages": page_levels(swept.page_scores[choices, :, 2]),
        "heldout": scores,
        "scores": np.float32(report.metrics["hmean"]),
        "shipped": np.uint8(best),
    }


def halves(swept: SweepScores) -> NDArray[np.uint16]:
    """`(2, S)` mean H-mean of either half of the pages, as levels; blank pages are left out."""
    hmeans, second = swept.page_scores[:, :, 2], second_half(len(swept.names))
    means = np.stack([np.nanmean(hmeans[:, half], axis=1) for half in (~second, second)])
    return np.rint(means * LEVELS).astype(np.uint16)


def chosen(swept: SweepScores) -> list[int]:
    """The settings that all pages choose, their first half and their second."""
    fitted = swept.cross_fit()
    assert fitted is not None
    by_second, by_first = map(swept.settings.index, fitted.settings)
    return [swept.best(), by_first, by_second]


def page_levels(hmeans: NDArray[np.float64]) -> NDArray[np.uint16]:
    """H-means of pages as levels; NaN as BLANK."""
    blank = np.isnan(hmeans)
    levels = np.rint(np.where(blank, 0.0, hmeans) * PAGE_LEVELS).astype(np.uint16)
    return np.where(blank, np.uint16(BLANK), levels)


def heldout_levels(
    checkpoint: Path, settings: Sequence[PostprocessConfig], pages: Sequence[Page]
) -> NDArray[np.uint16]:
    """`(settings, pages)` page levels of the best epoch's detector at some settings.

    Raises InputError for a page that cannot be read.
    """
    hmeans = np.full((len(settings), len(pages)), np.nan)
    if not pages:
        return page_levels(hmeans)
    detector, _ = load_detector(checkpoint, device="cpu")
    sweep = PageSweeper(settings)
    for index, page_map in page_maps(detector, pages, skip=_refuse):
        hmeans[:, index] = sweep(page_map, pages[index]).page_scores[:, 2]
    return page_levels(hmeans)


def _refuse(message: str) -> None:
    raise InputError(f"a held-out page cannot be read: {message}")


def heldout_pages(root: Path, *, train: int, val: int, count: int) -> tuple[Page, ...]:
    """`count` pages that neither the training nor the validation of so many pages sees.

    They are spread over what is left of both splits; InputError where that is less.
    """
    if count == 0:
        return ()
    left: list[Page] = []
    for split, limit in (("val", val), ("train", train)):
        taken = {page.path for page in read_split(root, split, limit=limit).pages}
        every = read_split(root, split).pages
        left += [replace(p, name=f"{split}/{p.name}") for p in every if p.path not in taken]
    if len(left) < count:
        raise InputError(f"{root} has {len(left)} pages beside {train} and {val}, got {count}")
    return tuple(evenly_spaced(left, count))


def save(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays by name as one file, all of it or nothing."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())
