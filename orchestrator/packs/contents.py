"""What a run's pack holds: results, report, study, settings and logs; no data and no secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from detector.config.cli import read_yaml
from detector.core.plain import dump_yaml, parse_yaml
from detector.training.storage.environment import read_environment
from orchestrator.packs.clean import cleaned, cleaned_values
from orchestrator.report_page.facts import gather
from orchestrator.report_page.reproduce import versions
from orchestrator.report_page.write import REPORT, page
from orchestrator.results.leaderboard import CSV_NAME, JSON_NAME
from orchestrator.run.run import Run
from orchestrator.run.run_folder import CONFIG, SPACE
from orchestrator.store.storage import DATABASE

ABOUT = "pack.json"
VERSION = 1  # of the pack; raise it when its files change their meaning
BEST = "best"
TRIALS = "trials"
OF_A_TRIAL = ("error.txt", "log.txt", "record.json")
WEIGHTS = ".safetensors"
NOWHERE_ELSE = {"storage": None, "bucket": None}
RESULTS = (CSV_NAME, JSON_NAME, f"{BEST}/{CONFIG}")
SINGLE = (CONFIG, SPACE, DATABASE, CSV_NAME, JSON_NAME, REPORT)


@dataclass(frozen=True)
class Contents:
    """Files by their names in the pack, as content or where they lie; and what was left out."""

    files: dict[str, bytes | Path]
    left_out: tuple[str, ...]


def contents(run: Run, *, over: bool, weights: bool, folder: Path, home: Path | None) -> Contents:
    """What is packed of a run; `folder` is for files that must be made first.

    Texts are `cleaned`. The settings name no database and no bucket of others: the study lies
    beside them, as `study.db`.
    """
    study = folder / DATABASE
    run.study.copy_to(f"sqlite:///{study}", lambda values: cleaned_values(values, home))
    config = run.config.model_copy(update=NOWHERE_ELSE)
    report = page(gather(replace(run, config=config), over=over), pages=False)
    settings = read_yaml(run.folder / CONFIG) | NOWHERE_ELSE
    texts = {CONFIG: dump_yaml(settings), REPORT: report, **dict(_texts(run))}
    files: dict[str, bytes | Path] = {DATABASE: study}
    files |= {name: _cleaned(name, text, home).encode() for name, text in texts.items()}
    files |= {f"{BEST}/{path.name}": path for path in _weights(run) if weights}
    left_out = ["pages and their pictures", "checkpoints of the trials"]
    left_out += [] if weights else ["the weights of best/"]
    left_out += [f"{name}, which is not there" for name in RESULTS if name not in files]
    return Contents(files, tuple(left_out))


def about(run: Run, files: dict[str, str]) -> dict[str, Any]:
    """What `pack.json` says: of which run, made when and with what, and the digests of files."""
    return {
        "version": VERSION,
        "run": run.folder.resolve().name,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "trials": len(run.study.trials),
        "versions": versions_now(),
        "platform": read_environment(torch.device("cpu")).platform,
        "files": files,
    }


def versions_now() -> dict[str, str]:
    """Of Python and of the packages that a search and its results depend on, by name."""
    return read_environment(torch.device("cpu")).versions | dict(versions())


def _cleaned(name: str, text: str, home: Path | None) -> str:
    if name.endswith(".json"):
        return json.dumps(cleaned_values(json.loads(text), home), ensure_ascii=False) + "\n"
    if name.endswith(".yaml"):
        return dump_yaml(cleaned_values(parse_yaml(text, name), home))
    return cleaned(text, home)


def _texts(run: Run) -> Iterator[tuple[str, str]]:
    """Names and contents of what is there: the space, the results, and the trials' logs."""
    for name in (SPACE, *RESULTS):
        if (run.folder / name).is_file():
            yield name, (run.folder / name).read_text(encoding="utf-8")
    for trial in run.study.trials:
        folder = run.trial_folder(trial.number)
        for name in OF_A_TRIAL:
            if (folder / name).is_file():
                text = (folder / name).read_text(encoding="utf-8", errors="replace")
                yield f"{TRIALS}/{folder.name}/{name}", text


def _weights(run: Run) -> list[Path]:
    return sorted((run.folder / BEST).glob(f"*{WEIGHTS}"))
