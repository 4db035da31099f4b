from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def data(drawn_root: Path, tmp_path: Path) -> Path:
    """A copy of the drawn pages that a test may change."""
    return Path(shutil.copytree(drawn_root, tmp_path / "data"))
