"""Pages for searches that train nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest


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
