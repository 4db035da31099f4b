"""`python -m orchestrator.ensemble run=runs/RUN`: which finished trials to average."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from detector.config import cli
from detector.config.answer import print_answer
from detector.config.cli import log
from detector.config.inference import Views
from detector.config.sections import Section
from detector.core.errors import InputError
from detector.core.files import require_writable
from detector.inference.ensemble import ENSEMBLE, write_ensemble
from detector.training.validation.validate import next_tried
from orchestrator.ensembles.candidates import Candidate, Maps, candidates
from orchestrator.ensembles.scoring import Scored, Scorer
from orchestrator.run.run import stored_run
from orchestrator.run.trial_data import validation_pages

FOLDER = "ensemble"  # of a run

Scale = Annotated[float, Field(ge=0.1, le=4)]


class EnsembleSettings(Section):
    run: Path = Field(description="a run's folder, such as runs/RUN")
    candidates: int = Field(
        6, ge=1, le=100, description="finished trials to choose among, the best ones"
    )
    members: int = Field(3, ge=1, le=16, description="trials that are averaged at most")
    scales: list[Scale] = Field(
        [], description="page sizes to try besides that of the validation, such as [0.8,1.25]"
    )
    ms_per_page: float | None = Field(
        None, gt=0, description="time that a page may take on this machine; null = any"
    )
    root: Path | None = Field(None, description="dataset folder; null = that of the trials")
    maps: Path | None = Field(
        None, description="keep the probability maps here, and use them again; null = for this time"
    )
    output: Path | None = Field(None, description="folder to write; null = ensemble/ in the run's")


def main(settings: EnsembleSettings) -> int:
    """Choose trials to average, keep them as one detector, and print what came of it as JSON."""
    run = stored_run(settings.run)
    output = settings.output or run.folder / FOLDER
    require_writable("output", output, folder=True)
    require_writable("maps", settings.maps, folder=True)
    _require_own(output, settings.maps)
    found = candidates(run.folder, run.records(), settings.candidates, log)
    data = found[0].config.data
    if settings.root is not None:
        data = data.model_copy(update={"root": settings.root})
    pages = validation_pages(data)
    tried = next_tried(found[0].config)
    log(f"{len(found)} trials, {len(pages)} validation pages, {len(tried)} settings for each blend")
    with ExitStack() as stack:
        folder = settings.maps or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scorer = Scorer(
            Maps(found, pages, folder, stack),
            pages,
            tried,
            most=settings.members,
            limit=settings.ms_per_page or math.inf,
            told=_tell,
        )
        result = _chosen(scorer, found, settings, output)
    print_answer(result | {"pages": len(pages), "written": str(output)})
    return 0


def _require_own(output: Path, maps: Path | None) -> None:
    """Raise InputError unless all that lies in `output` may be replaced."""
    if output.is_dir() and any(output.iterdir()) and not (output / ENSEMBLE).is_file():
        raise InputError(
            f"output: {output} would be replaced as a whole, and holds no {ENSEMBLE} but other "
            "files; give a new folder"
        )
    if maps is not None and output.resolve() in (maps.resolve(), *maps.resolve().parents):
        raise InputError(
            f"maps: must lie outside of output, which is replaced as a whole, got {maps} and "
            f"{output}"
        )


def _tell(scored: Scored) -> None:
    log(
        f"{scored.blend}: H-mean {scored.fitted.hmean:.4f} (cross-fitted), "
        f"IoU H-mean {scored.metrics['iou_hmean']:.4f}, {scored.milliseconds:.0f} ms a page"
    )


def _chosen(
    scorer: Scorer, found: Sequence[Candidate], settings: EnsembleSettings, output: Path
) -> dict[str, Any]:
    """Write what is chosen to `output`; the steps to it and their scores."""
    trials = [candidate.trial for candidate in found]
    scales = [1.0, *settings.scales]
    path = scorer.path(trials, scales)
    if not path:
        raise InputError(
            f"ms_per_page={settings.ms_per_page:g}: each of the {len(found)} trials takes longer "
            "for a page; allow more, or search smaller backbones"
        )
    last = path[-1]
    bests = {candidate.trial: candidate.best for candidate in found}
    write_ensemble(
        output,
        {trial: bests[trial] for trial in last.blend.trials},
        tta=Views(scales=[*last.blend.scales]),
        postprocess=last.postprocess,
    )
    if len(path) == 1:
        log(f"no average is better than trial {last.blend} alone, which is what is written")
    return {
        "trials": [*last.blend.trials],
        "scales": [*last.blend.scales],
        **last.metrics,
        "cross_fitted_hmean": last.fitted.hmean,
        "expected_hmean": scorer.expected(trials, scales),
        "ms_per_page": round(last.milliseconds, 1),
        "postprocess": last.postprocess.model_dump(),
        "steps": [
            {
                "blend": str(step.blend),
                "cross_fitted_hmean": step.fitted.hmean,
                "iou_hmean": step.metrics["iou_hmean"],
                "ms_per_page": round(step.milliseconds, 1),
            }
            for step in path
        ],
    }


if __name__ == "__main__":
    cli.run(
        main,
        EnsembleSettings,
        program="python -m orchestrator.ensemble",
        description="Choose greedily which finished trials of a run to average, by cross-fitted "
        "H-mean on the validation pages, and keep them as one detector that every command takes "
        "as checkpoint=RUN/ensemble. Prints one JSON object.",
    )
