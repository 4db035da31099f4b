"""Pages for searches that train nothing, and runs that no search made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from growing import Head
from made_run import SPACE, Made

from orchestrator.config.settings import SearchConfig
from orchestrator.run.run import Run
from orchestrator.run.study import open_study
from orchestrator.space.search_space import load_space
from orchestrator.store.storage import storage_url


@pytest.fixture(scope="session")
def blank_pages() -> Callable[..., Path]:
    """`blank_pages(root, split=names)`: white pages of which the annotation says one word."""
    word = {"points": [[8, 8], [40, 8], [40, 20], [8, 20]], "transcription": "won"}
    page = {"img_w": 64, "img_h": 48, "words": {"0001": word}}

    def make(root: Path, **splits: Sequence[str]) -> Path:
        (root / "jsons").mkdir(parents=True)
        for split, names in splits.items():
            folder = root / "images" / split
            folder.mkdir(parents=True)
            for name in names:
                cv2.imwrite(str(folder / name), np.full((48, 64, 3), 255, np.uint8))
            pages = json.dumps({"images": dict.fromkeys(names, page)})
            (root / "jsons" / f"{split}.json").write_text(pages)
        return root

    return make


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Made]:
    """`make_run(name=..., **search settings)`: an empty run."""

    def make(name: str = "run", space: str = SPACE, **settings: Any) -> Made:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "space.yaml").write_text(space)
        loaded = load_space(str(folder / "space.yaml"), gpu=True)
        study = open_study(storage_url(folder, None), name, resume=False)
        config = SearchConfig.model_validate({"space": "mine", "name": name} | settings)
        return Made(Run(folder, config, loaded, study))

    return make


@pytest.fixture
def head() -> Iterator[Callable[..., Head]]:
    """`head(workers, newer=…, idle_minutes=…)`: starts a cluster, which ends with the test."""

    heads: list[Head] = []

    def start(*arguments: Any, **named: Any) -> Head:
        heads.append(Head(*arguments, **named))
        return heads[-1]

    yield start
    for each in heads:
        each.end()
