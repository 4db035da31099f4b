"""A trained detector under settings that it was not trained for: scored, not trained again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from detector.config.cli import log as log_to_stderr
from detector.config.sections import flatten
from detector.config.settings import PLACEMENT, TrainConfig, is_afterwards
from detector.core.device import loader_processes
from detector.core.errors import InputError
from detector.data.labels.annotations import read_split
from detector.data.labels.pages import LabelRules
from detector.inference.checkpoint import save_best
from detector.inference.detector import load_detector, make_preprocess
from detector.inference.latency import latency_ms
from detector.model.dbnet import metadata_beside
from detector.training.epoch_end import LATENCY, EpochReport, params_m
from detector.training.monitor import box_thresh_curve
from detector.training.storage.best import keep_box_thresh, with_chosen
from detector.training.storage.provenance import read_record, write_record
from detector.training.validation.figures import record
from detector.training.validation.validate import validate


def rescore(
    config: TrainConfig,
    folder: Path,
    *,
    source: Path,
    epochs: int,
    best_epoch: int,
    finished: bool,
    log: Callable[[str], None] = log_to_stderr,
) -> EpochReport:
    """The last report of a training as `config` says, from the weights of an equal one.

    `source` is the folder of that training, which differs in what is done with weights alone
    (post-processing, size and tiles of pages in use); it ran for `epochs` and kept the weights of
    `best_epoch`, the best one at its own settings. Another epoch
    may be the best at these, so a training could have given a little more. Writes `folder` as a
    training does, without anything to resume. `seconds` are those of the scoring. Raises InputError
    when the weights are missing or were trained otherwise, JobError as `validate` does.
    """
    started = time.monotonic()
    detector, other = load_detector(
        source / "checkpoint", device=config.train.device, amp=config.train.amp
    )
    _require_same_training(config, other, source)
    stored = detector.preprocess
    preprocess = make_preprocess(config, mean=stored.mean, std=stored.std)
    detector = replace(detector, preprocess=preprocess, postprocess=config.postprocess)
    assert config.data.root is not None
    split = read_split(
        config.data.root,
        config.data.val_split,
        limit=config.data.val_pages,
        exclude=config.data.exclude,
        rules=LabelRules(**config.data.rules()),
    )
    scores = validate(
        detector,
        split.pages,
        workers=loader_processes(config.data.workers, detector.device),
        tried=config.sweep.tried() if config.train.sweep else None,
        choose=config.sweep.choose,
    )
    for message in scores.told.skipped:
        log(f"skipped: {message}")
    metrics: dict[str, float] = {LATENCY: latency_ms(detector, split.pages)}
    record(metrics, scores, best_epoch)
    checkpoint = folder / "checkpoint"
    kept = with_chosen(config, scores.tuned)
    weights, beside = detector.model.state_dict(), metadata_beside(detector.model)
    save_best(checkpoint / "best", weights, kept, scores.figures, beside)
    keep_box_thresh(folder, box_thresh_curve(scores.swept, best_epoch))
    metrics["params_m"] = params_m(detector.model)
    metrics["seconds"] = time.monotonic() - started
    # What made the weights, with the settings that they are scored at.
    write_record(folder, read_record(source).model_copy(update={"config": config}))
    log(f"the weights of {source.name}, trained alike: H-mean {metrics['hmean']:.4f}")
    return EpochReport(
        epoch=epochs,
        metrics=metrics,
        page_hmeans=scores.page_hmeans,
        checkpoint=checkpoint,
        finished=finished,
        swept=scores.swept,
        tuned=scores.tuned,
    )


def _require_same_training(config: TrainConfig, other: TrainConfig, source: Path) -> None:
    old, new = (flatten(one.model_dump(mode="json")) for one in (other, config))
    changed = [
        f"{key}: {old[key]!r} there, {value!r} here"
        for key, value in new.items()
        if old[key] != value and key not in PLACEMENT and not is_afterwards(key)
    ]
    if changed:
        raise InputError(
            f"{source}: was trained otherwise, so its weights cannot stand for these settings\n"
            + "\n".join(changed)
        )
