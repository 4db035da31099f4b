from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from detector.data.labels.annotations import Page, read_split


@pytest.fixture(scope="module")
def pages(make_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple:
    root = make_dataset(tmp_path_factory.mktemp("data"), pages=5, words=6)
    return read_split(root, "train").pages


@pytest.fixture
def broken(pages: tuple[Page, ...], tmp_path: Path) -> Page:
    path = tmp_path / "torn.jpg"
    path.write_bytes(pages[0].path.read_bytes()[:400])
    return replace(pages[0], name="torn.jpg", path=path)
