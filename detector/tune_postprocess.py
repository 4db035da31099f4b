"""`python -m detector.tune_postprocess`: the best post-processing settings of a trained detector.

One pass of the network over a split, then the combinations of a grid scored from the kept
probability maps, then finer ones around the best, and further ones where it lies at an end of what
was tried. The choice flatters itself on the pages it was made on, so its cross-fitted score stands
beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from detector.config.answer import print_answer
from detector.config.cli import log, run
from detector.config.inference import DetectorSettings, Views
from detector.config.postprocess import Grid
from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError, JobError
from detector.core.files import file_digest, require_writable
from detector.data.labels.pages import Page
from detector.inference.augmented import Averaged, load_used, members
from detector.inference.checkpoint import write_config
from detector.inference.ensemble import ENSEMBLE, ensemble_file, read_ensemble, write_settings
from detector.inference.evaluation import EvaluateData, kept_maps, labelled_pages
from detector.inference.networks import is_start, weights_of
from detector.inference.onnx_model import is_onnx
from detector.postprocess.rounds import Rounds, sweep_in_rounds


class Settings(DetectorSettings):
    data: EvaluateData
    output: Path = Field(Path("postprocess_sweep"), description="folder for curve.csv, curve.png")
    write: bool = Field(
        False,
        description="put the best settings, and what is given here, into the checkpoint's "
        "config.yaml",
    )
    maps: Path | None = Field(
        None, description="keep the probability maps here, and use them again; null = for this run"
    )
    grid: Grid = Grid()


def main(settings: Settings) -> int:
    require_writable("output", settings.output, folder=True)
    require_writable("maps", settings.maps, folder=True)
    weights = [weights_of(checkpoint) for checkpoint in members(settings.checkpoint)]
    ensemble = ensemble_file(settings.checkpoint[0])
    kept = ensemble or weights[0].with_name("config.yaml")
    if settings.write:
        _require_one(settings, ensemble)
        require_writable("checkpoint", kept)
    read = kept.parent.stat()
    detector, config = load_used(settings.checkpoint, settings)
    pages = labelled_pages(settings.data)
    flip = isinstance(detector.model, Averaged) and detector.model.flip
    made_by = json.dumps([*map(file_digest, weights), flip])
    with kept_maps(
        detector, pages, settings.maps, made_by=made_by, workers=settings.data.workers
    ) as maps:
        log(f"scoring the maps of {len(maps)} pages")
        found = sweep_in_rounds(
            maps,
            pages,
            detector.postprocess,
            settings.grid.tried(),
            own=settings.grid.own(),
            log=log,
        )
    swept = found.swept
    best = swept.best()
    changed = {f"postprocess.{k}": v for k, v in swept.settings[best].model_dump().items()}
    config = with_values(config, changed)  # checked before anything is written

    from detector.postprocess.curves import write_curves  # matplotlib takes a second to import

    curve = write_curves(settings.output, swept)
    if settings.write:
        _require_same(kept.parent, read)
        _write(kept, config)
    result = _result(found, best, pages) | {"curve": [*map(str, curve)], "written": settings.write}
    print_answer(result)
    return 0


def _write(kept: Path, config: TrainConfig) -> None:
    """Put what was found into the file that holds a checkpoint's settings."""
    if kept.name == ENSEMBLE:
        found = {"postprocess": config.postprocess}
        write_settings(kept, read_ensemble(kept).model_copy(update=found))
    else:
        write_config(kept, config)


def _require_one(settings: Settings, ensemble: Path | None) -> None:
    """Raise InputError unless there is one file that can hold all that was used."""
    if ensemble is not None:
        only = {key for key in settings.given() if not key.startswith("postprocess.")}
        if not only and settings.tta == Views():
            return
        raise InputError(
            "write: an ensemble keeps post-processing settings alone, got "
            f"{', '.join(sorted(only)) or 'tta'}; leave that or write=true out"
        )
    if len(settings.checkpoint) != 1 or settings.tta != Views():
        raise InputError(
            "write: the best settings of several checkpoints or views cannot be stored with one; "
            "leave write=true out, and give the settings to whoever uses the same ones"
        )
    if is_start(settings.checkpoint[0]):
        raise InputError(
            f"checkpoint={settings.checkpoint[0]}: nothing is written into the package of a "
            "published detector; leave write=true out, or train it first (train.init)"
        )
    if is_onnx(settings.checkpoint[0]):
        raise InputError(
            f"checkpoint={settings.checkpoint[0]}: settings lie inside an ONNX file; tune the "
            "best/ folder with write=true and export it again"
        )


def _require_same(folder: Path, read: os.stat_result) -> None:
    if not os.path.samestat(read, folder.stat()):
        raise JobError(
            f"{folder}: a training has put better weights there meanwhile, which these settings "
            "were not found for; tune them when it is over"
        )


def _result(found: Rounds, best: int, pages: Sequence[Page]) -> dict[str, Any]:
    swept = found.swept
    stored, chosen = swept.settings[0].model_dump(), swept.settings[best].model_dump()
    fitted = swept.cross_fit()
    return {
        "settings": len(swept.settings),
        "pages": len(swept.names),
        "stored": {"postprocess": stored, **swept.scores(0).metrics()},
        "best": {"postprocess": chosen, **swept.scores(best).metrics()},
        "highest_hmean": swept.highest,
        "extended": found.extended,
        "at_an_end": found.edges,
        "changed": {k: v for k, v in chosen.items() if v != stored[k]},
        "cross_fitted_hmean": None if fitted is None else fitted.hmean,
        "optimism": None if fitted is None else fitted.optimism,
        "skipped": sorted({page.name for page in pages} - set(swept.names)),
    }


if __name__ == "__main__":
    run(
        main,
        Settings,
        program="python -m detector.tune_postprocess",
        description="Find the best post-processing settings of a trained detector, without "
        "training: the highest IoU H-mean among those that the pages cannot tell from the highest "
        "H-mean. Prints one JSON object: the scores of the stored and of the best settings, "
        "and what the choice is worth on pages it was not made on (cross-fitted).",
    )
