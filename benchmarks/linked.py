"""A dataset whose pages are chosen by name from another, its images as links."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from detector.core.errors import InputError

Page = tuple[str, str]  # the split that it is in, and its name there


def labels_of(data: Path, splits: Iterable[str]) -> dict[Page, Any]:
    """The labels of all pages of some splits of a dataset in the native layout.

    InputError where `jsons/<split>.json` is missing.
    """
    labels: dict[Page, Any] = {}
    for split in splits:
        path = data / f"jsons/{split}.json"
        if not path.is_file():
            raise InputError(f"data: {path} is missing; give a folder of receipts with it")
        pages = json.loads(path.read_text(encoding="utf-8"))["images"]
        labels |= {(split, name): page for name, page in pages.items()}
    return labels


def link(
    root: Path, data: Path, labels: Mapping[Page, Any], splits: Mapping[str, Iterable[Page]]
) -> Path:
    """A dataset at `root`, anew, whose splits are these pages of `data`; returns `root`.

    A page that comes again in a split does so under another name.
    """
    shutil.rmtree(root, ignore_errors=True)
    (root / "jsons").mkdir(parents=True)
    for split, pages in splits.items():
        folder = root / "images" / split
        folder.mkdir(parents=True)
        chosen = {}
        for page in pages:
            source, name = page
            own = name
            while own in chosen:
                own = f"again-{own}"
            (folder / own).symlink_to(data / "images" / source / name)
            chosen[own] = labels[page]
        content = json.dumps({"images": chosen})
        (root / f"jsons/{split}.json").write_text(content, encoding="utf-8")
    return root
