"""`python -m detector.tune_postprocess`: the best post-processing settings of a trained detector.

One pass of the network over a split, then every combination of a grid scored from the kept
probability maps. The choice flatters itself on the pages it was made on, so its cross-fitted
score stands beside it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from detector.config.cli import log, run
from detector.config.input import Probability
from detector.config.postprocess import (
    Count,
    Epsilon,
    ScoreMode,
    Shape,
    Side,
    Threshold,
    Tried,
    Unclip,
    UnclipRatio,
)
from detector.config.sections import Section
from detector.config.settings import PostprocessConfig, with_values
from detector.core.errors import InputError, JobError
from detector.core.files import write_text
from detector.data.labels.annotations import Page
from detector.inference.checkpoint import find_best, write_config
from detector.inference.detector import Detector, load_detector
from detector.inference.evaluation import EvaluateData, collect_keeping_maps, labelled_pages
from detector.inference.onnx_model import is_onnx
from detector.metrics.scores import METRICS
from detector.postprocess.maps import PageMaps, has_maps
from detector.postprocess.sweep import grid, sweep
from detector.postprocess.sweep_scores import SweepScores

CSV_NAME = "curve.csv"
PNG_NAME = "curve.png"


class Grid(Section):
    """The values to try; null keeps the stored one."""

    thresh: Tried[Threshold] = (0.2, 0.3, 0.4, 0.5)
    box_thresh: Tried[Probability] = tuple(i / 100 for i in range(30, 91, 5))
    unclip: Tried[Unclip] = None
    unclip_ratio: Tried[UnclipRatio] = (1.2, 1.4, 1.6, 1.8, 2.0)
    shape: Tried[Shape] = ("quad", "polygon")
    min_side_px: Tried[Side] = None
    max_candidates: Tried[Count] = None
    score_mode: Tried[ScoreMode] = None
    dilate: Tried[bool] = None
    epsilon: Tried[Epsilon] = None


class Settings(Section):
    checkpoint: Path = Field(description="best/ folder of a training or a search")
    data: EvaluateData
    output: Path = Field(Path("postprocess_sweep"), description="folder for curve.csv, curve.png")
    write: bool = Field(
        False, description="put the best settings into the checkpoint's config.yaml"
    )
    maps: Path | None = Field(
        None, description="keep the probability maps here, and use them again; null = for this run"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs")
    amp: Literal["auto", "off", "bf16", "fp16"] = Field("auto", description="mixed precision")
    grid: Grid = Grid()


def main(settings: Settings) -> int:
    weights = find_best(settings.checkpoint)
    if settings.write and is_onnx(weights):
        raise InputError(
            f"checkpoint={weights}: settings lie inside an ONNX file; tune the best/ folder with "
            "write=true and export it again"
        )
    read = weights.parent.stat()
    detector, config = load_detector(weights, device=settings.device, amp=settings.amp)
    tried = grid(detector.postprocess, _values(settings.grid))
    pages = labelled_pages(settings.data)
    with _maps(settings, weights, detector, pages) as maps:
        log(f"scoring {len(tried)} settings on the maps of {len(maps)} pages")
        swept = sweep(maps, pages, tried)
    best = swept.best()
    changed = {f"postprocess.{k}": v for k, v in swept.settings[best].model_dump().items()}
    config = with_values(config, changed)  # checked before anything is written
    _write_curve(settings.output, swept)
    if settings.write:
        if not os.path.samestat(read, weights.parent.stat()):
            raise JobError(
                f"{weights.parent}: a training has put better weights there meanwhile, which these "
                "settings were not found for; tune them when it is over"
            )
        write_config(weights.with_name("config.yaml"), config)
    print(json.dumps(_result(settings, pages, swept, best), indent=2, ensure_ascii=False))
    return 0


def _values(chosen: Grid) -> dict[str, tuple[Any, ...]]:
    return {key: tuple(value) for key, value in chosen.model_dump().items() if value is not None}


@contextmanager
def _maps(
    settings: Settings, weights: Path, detector: Detector, pages: Sequence[Page]
) -> Iterator[PageMaps]:
    """The maps of the pages: kept ones when there are some, else new ones."""
    with tempfile.TemporaryDirectory(prefix="probability-maps-") as temporary:
        folder = settings.maps or Path(temporary)
        identity = _identity(weights, detector, pages)
        if settings.maps is None or not has_maps(folder):
            log(f"computing the probability maps of {len(pages)} pages")
            scoring, failure = collect_keeping_maps(
                detector, pages, folder, identity=identity, workers=settings.data.workers
            )
            if failure is not None:
                raise failure
            for message in scoring.result().skipped:
                log(f"skipped: {message}")
        yield PageMaps(folder, identity=identity)


def _identity(weights: Path, detector: Detector, pages: Sequence[Page]) -> str:
    """Whose maps these are: a digest of the weights, the preprocessing and the pages."""
    digest = hashlib.sha256(weights.read_bytes())
    files = [(p.name, p.width, p.height, p.path.stat().st_size) for p in pages]
    about = [detector.preprocess.to_dict(), str(detector.amp), files]
    digest.update(json.dumps(about).encode())
    return digest.hexdigest()


def _write_curve(folder: Path, swept: SweepScores) -> None:
    from detector.postprocess.curves import draw_curves  # matplotlib takes a second to import

    folder.mkdir(parents=True, exist_ok=True)
    keys = list(PostprocessConfig.model_fields)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, *METRICS])
    for index, setting in enumerate(swept.settings):
        figures = swept.scores(index).metrics()
        writer.writerow([*setting.model_dump().values(), *figures.values()])
    write_text(folder / CSV_NAME, text.getvalue())
    draw_curves(folder / PNG_NAME, swept)


def _result(
    settings: Settings, pages: Sequence[Page], swept: SweepScores, best: int
) -> dict[str, Any]:
    stored, chosen = swept.settings[0].model_dump(), swept.settings[best].model_dump()
    fitted = swept.cross_fit()
    return {
        "settings": len(swept.settings),
        "pages": len(swept.names),
        "stored": {"postprocess": stored, **swept.scores(0).metrics()},
        "best": {"postprocess": chosen, **swept.scores(best).metrics()},
        "changed": {k: v for k, v in chosen.items() if v != stored[k]},
        "cross_fitted_hmean": None if fitted is None else fitted.hmean,
        "optimism": None if fitted is None else fitted.optimism,
        "skipped": sorted({page.name for page in pages} - set(swept.names)),
        "curve": [str(settings.output / CSV_NAME), str(settings.output / PNG_NAME)],
        "written": settings.write,
    }


if __name__ == "__main__":
    run(
        main,
        Settings,
        program="python -m detector.tune_postprocess",
        description="Find the best post-processing settings of a trained detector, without "
        "training. Prints one JSON object: the scores of the stored and of the best settings, "
        "and what the choice is worth on pages it was not made on (cross-fitted).",
    )
