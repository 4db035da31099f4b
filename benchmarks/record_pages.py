"""Train a few small detectors, and keep what each scores on many pages that none was trained on.

`python benchmarks/record_pages.py data=receipts [output=pages.npz] [folder=recorded-pages]
[start=weights] [train_pages=60] [other_pages=131]` trains detectors on the same pages, one after
the other on one thread: small ones from weights of a backbone, or with `start=ppocr` good ones from
PP-OCRv6 small (`pip install -e '.[ppocr]'`), on pages of 1024 px (`POINTS`). Each is scored on all
pages of the validation split and `other_pages` more of the training split, at the settings that a
sweep tries by default. `bench_new_pages.py` deals these pages to validation and to what comes
later. Each training stays in `folder`, so that a recording that was stopped goes on where it was;
`output` is written again after each one. It takes a quarter of an hour of one core, or an hour with
`start=ppocr`.

The file holds scores alone, for C trainings, S settings and P pages:

configs: JSON of the C points, by dotted name. settings: JSON of the S settings. about: JSON of what
the trainings share.
hmeans: `(C, S, P)` uint16, H-mean in units of 1/65535; no page is without words.
matched, detections: `(C, S, P)` uint16, and words `(P,)`: the counts of IoU H-mean.
All but the first setting are differences to the one before, modulo 65536, which takes less room.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from linked import labels_of, link
from numpy.typing import NDArray
from record_one import LEVELS
from recorded_points import FIXED
from timing import run

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.core.files import replacing
from detector.data.labels.pages import evenly_spaced
from detector.postprocess.sweep_scores import SweepScores
from detector.training.epoch_end import EpochReport
from detector.training.trainer import train

DEFAULTS = {
    "data": None,
    "output": "pages.npz",
    "folder": "recorded-pages",
    "start": "weights",
    "train_pages": 60,
    "other_pages": 131,
}
HEAVY = {"model.backbone": "tf_efficientnet_lite0", "train.epochs": 5}
LIGHT = {"model.backbone": "mobilenetv3_small_100", "train.epochs": 6}
# As at the end of a search, some are alike; the cheap ones come first.
GOOD = {"train.init": "ppocrv6_small", "train.epochs": 3, "optimizer.backbone_lr_ratio": 1.0}
GOOD |= {"data.longest_side_px": 1024, "augment.crop_px": 480}
RATES = {
    "weights": (
        (LIGHT, (4e-3, 6e-3, 8e-3, 5e-3, 6e-3, 4e-3, 7e-3, 5e-3)),
        (HEAVY, (3e-3, 4e-3, 5e-3, 3e-3)),
    ),
    "ppocr": ((GOOD, (5e-4, 3e-4, 8e-4, 5e-4, 4e-4, 6e-4, 3e-4, 1e-3)),),
}
POINTS: dict[str, tuple[dict[str, Any], ...]] = {
    start: tuple(
        kind | {"optimizer.lr": rate, "train.seed": seed}
        for kind, rates in every
        for seed, rate in enumerate(rates)
    )
    for start, every in RATES.items()
}


def dealt(data: Path, folder: Path, *, train_pages: int, other_pages: int) -> Path:
    """A dataset below `folder` whose validation split is every page that the others will not see.

    Its images are links. InputError when `data` is not in the layout of jsons/{train,val}.json.
    """
    labels = labels_of(data, ("train", "val"))
    names = sorted(page for page in labels if page[0] == "train")
    used = evenly_spaced(names, train_pages + other_pages)
    seen = evenly_spaced(used, train_pages)
    other = [page for page in used if page not in set(seen)]
    others = other + [page for page in labels if page[0] == "val"]
    return link(folder / "dealt", data, labels, {"train": seen, "val": others})


def record(config: TrainConfig, place: Path) -> dict[str, NDArray[Any]]:
    """Train, or go on with it; the `tables` of its last epoch, the only one that is scored."""
    done = place / "recorded.npz"

    def keep(report: EpochReport) -> None:
        assert report.swept is not None
        _save(done, tables(report.swept))

    if not done.is_file():
        train(config, place, report=keep, resume=True, log=partial(print, flush=True))
    with np.load(done) as file:
        return dict(file)


def tables(swept: SweepScores) -> dict[str, NDArray[Any]]:
    """`(S, P)` H-means as levels and counts of boxes, words `(P,)`, and settings as JSON."""
    hmeans = swept.page_scores[:, :, 2]
    assert not np.isnan(hmeans).any(), "a page without words"
    settings = [setting.model_dump() for setting in swept.settings]
    return {
        "hmeans": np.rint(hmeans * LEVELS).astype(np.uint16),
        "matched": swept.overlap[:, :, 0].astype(np.uint16),
        "detections": swept.overlap[:, :, 2].astype(np.uint16),
        "words": swept.overlap[0, :, 1].astype(np.uint16),
        "settings": np.array(json.dumps(settings)),
    }


def _save(path: Path, arrays: dict[str, Any]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())


def write(
    path: Path,
    done: list[dict[str, NDArray[Any]]],
    about: dict[str, Any],
    points: Sequence[dict[str, Any]],
) -> None:
    """The file of the trainings that are complete, the first ones of `points`."""
    arrays: dict[str, Any] = {
        "configs": np.array(json.dumps(points[: len(done)])),
        "about": np.array(json.dumps(about)),
        "settings": done[0]["settings"],
        "words": done[0]["words"],
    }
    for key in ("hmeans", "matched", "detections"):
        values = np.stack([one[key] for one in done])
        values[:, 1:] -= values[:, :-1].copy()
        arrays[key] = values
    _save(path, arrays)


def main(options: dict[str, Any]) -> None:
    if options["data"] is None:
        raise InputError("data: must be given, a folder of labelled receipts")
    points = POINTS.get(options["start"])
    if points is None:
        raise InputError(f"start: one of {', '.join(POINTS)}, got {options['start']!r}")
    folder = Path(options["folder"]).resolve()
    pages = {key: options[key] for key in ("train_pages", "other_pages")}
    root = dealt(Path(options["data"]).resolve(), folder, **pages)
    shared = FIXED | {"model.neck_channels": 64, "sweep.choose": True, "data.workers": 0}
    places = {"data.root": str(root), "data.cache": str(folder / "cache")}
    done = []
    for index, point in enumerate(points):
        config = with_values(TrainConfig(), shared | places | point)
        config = with_values(config, {"train.eval_every": config.train.epochs})
        done.append(record(config, folder / f"{index:02d}"))
        write(Path(options["output"]), done, pages | shared, points)
        print(f"{len(done)} of {len(points)}: {point}", flush=True)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    run(main, DEFAULTS, __doc__ or "")
