"""A dataset of synthetic Korean and English receipts, for a machine that has no data.

Page i of a split depends on the seed, the split and i alone, so a larger dataset of the
same seed starts with the same pages.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.core.errors import InputError
from detector.core.files import require_writable
from detector.core.folders import flush_folder
from detector.data.synthetic.fonts import find_fonts
from detector.data.synthetic.paper import print_receipt
from detector.data.synthetic.photo import photograph
from detector.data.synthetic.text import word_language, write_blank, write_receipt
from detector.data.synthetic.vocabulary import VOCABULARIES

VERSION = 1  # of the pages a seed gives; raise it when a change here alters them
SETTINGS = "synthetic.json"
SPLITS = ("train", "val")
BLANK_SHARE = 0.04
Fonts = dict[str, tuple[Path, ...]]


@dataclass(frozen=True, eq=False)
class SyntheticPage:
    """`image`: `(H, W, 3)` uint8 RGB; `words`: the page's `words` in the dataset's JSON."""

    image: NDArray[np.uint8]
    words: dict[str, dict[str, Any]]
    jpeg_quality: int


def synthesize(
    root: Path,
    *,
    images: int,
    val_images: int,
    seed: int,
    longest_side_px: int = 1024,
    languages: tuple[str, ...] = ("ko", "en"),
    fonts: Path | None = None,
    log: Callable[[str], None] | None = None,
) -> Path:
    """Write `images` training and `val_images` validation pages below `root`; return `root`.

    The folder appears whole or not at all. One already made with the same settings is
    returned untouched. `fonts` is a file, a folder, `system` or None for the package's own.
    Raises InputError for settings out of range, for a language no font can draw and for a
    `root` that holds anything else.
    """
    say = log or (lambda _: None)
    _check(images, val_images, seed, longest_side_px, languages)
    found = find_fonts(fonts, languages)
    settings = {
        "version": VERSION,
        "images": images,
        "val_images": val_images,
        "seed": seed,
        "longest_side_px": longest_side_px,
        "languages": list(languages),
        "fonts": _fingerprints(found),
    }
    root = Path(root)
    if _is_made(root, settings):
        say(f"{root}: already holds these synthetic receipts")
        return root
    require_writable("root", root, folder=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = root.parent / f".{root.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        for split, count in zip(SPLITS, (images, val_images), strict=True):
            if count:
                _write_split(
                    partial, split, count, seed=seed, side=longest_side_px, fonts=found, log=say
                )
        _write_json(partial / SETTINGS, settings)
        _publish(partial, root, settings)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    say(f"{root}: {images} training and {val_images} validation receipts")
    return root


def make_page(
    seed: int, split: str, index: int, *, longest_side_px: int, fonts: Fonts
) -> SyntheticPage:
    """Page `index` of a split (`train` or `val`), drawn from these values alone."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    language = tuple(fonts)[rng.integers(len(fonts))]
    blank = rng.random() < BLANK_SHARE
    receipt = (write_blank if blank else write_receipt)(language, rng)
    choices = fonts[language]
    font = choices[rng.integers(len(choices))]
    paper = print_receipt(receipt, font, height_px=round(1.1 * longest_side_px), rng=rng)
    photo = photograph(paper, longest_side_px=longest_side_px, rng=rng)
    words: dict[str, dict[str, Any]] = {}
    for word, polygon in zip(paper.words, photo.polygons, strict=True):
        entry: dict[str, Any] = {
            "points": [[round(float(x), 2), round(float(y), 2)] for x, y in polygon],
            "transcription": word.text,
            "language": [word_language(word.text)],
            "orientation": _orientation(polygon),
        }
        if word.ignore:  # rubbed out: nobody could transcribe it
            entry |= {"transcription": "", "ignore": True}
        words[f"{len(words) + 1:04d}"] = entry
    return SyntheticPage(photo.image, words, int(rng.integers(55, 96)))


def _orientation(polygon: NDArray[np.float32]) -> str:
    """Which way the upper side of a word runs in the image."""
    x, y = np.abs(polygon[len(polygon) // 2 - 1] - polygon[0])
    return "Horizontal" if x >= y else "Vertical"


def _check(
    images: int, val_images: int, seed: int, longest_side_px: int, languages: tuple[str, ...]
) -> None:
    faults = [
        f"{name}: must be at least {low}, got {value}"
        for name, value, low in (
            ("images", images, 1),
            ("val_images", val_images, 0),
            ("seed", seed, 0),
        )
        if value < low
    ]
    if not 256 <= longest_side_px <= 4096:
        faults.append(f"longest_side_px: must be from 256 to 4096, got {longest_side_px}")
    if not languages or len(set(languages)) < len(languages) or set(languages) - set(VOCABULARIES):
        faults.append(
            f"languages: must be different ones of {', '.join(VOCABULARIES)}, "
            f"got {','.join(languages) or 'none'}"
        )
    if faults:
        raise InputError("\n".join(faults))


def _fingerprints(fonts: Fonts) -> dict[str, str]:
    paths = sorted({path for group in fonts.values() for path in group})
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in paths}


def _is_made(root: Path, settings: dict[str, Any]) -> bool:
    """Whether `root` holds this very dataset; InputError when it holds something else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    if not root.is_dir():
        raise InputError(f"root: {root} is a file; name a folder that is new or empty")
    try:
        made = json.loads((root / SETTINGS).read_text(encoding="utf-8"))
        differ = [key for key in settings if made.get(key) != settings[key]]
    except (OSError, ValueError, AttributeError, RecursionError):
        raise InputError(
            f"root: {root} is not empty and not a set of synthetic receipts (no readable "
            f"{SETTINGS}); name a folder that is new or empty"
        ) from None
    if differ:
        changes = "; ".join(
            f"{key} is {made.get(key)}, asked for {settings[key]}" for key in differ
        )
        raise InputError(
            f"root: {root} holds synthetic receipts made with other settings ({changes}); "
            "name another folder or delete this one"
        )
    return True


def _publish(partial: Path, root: Path, settings: dict[str, Any]) -> None:
    """Rename the finished folder into place; another process may have been faster."""
    flush_folder(partial)
    try:
        if root.is_dir():
            root.rmdir()  # empty, or this fails
        partial.rename(root)
    except OSError:
        if not (root.exists() and _is_made(root, settings)):
            raise


def _write_split(
    root: Path,
    split: str,
    count: int,
    *,
    seed: int,
    side: int,
    fonts: Fonts,
    log: Callable[[str], None],
) -> None:
    folder = root / "images" / split
    folder.mkdir(parents=True)
    entries = {}
    for index in range(count):
        page = make_page(seed, split, index, longest_side_px=side, fonts=fonts)
        name = f"{split}_{index:05d}.jpg"
        bgr = cv2.cvtColor(page.image, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, page.jpeg_quality])
        (folder / name).write_bytes(data.tobytes())
        height, width = page.image.shape[:2]
        entries[name] = {"img_w": width, "img_h": height, "words": page.words}
        if index + 1 == 10 or (index + 1) % 100 == 0:
            log(f"{split}: {index + 1} of {count} receipts")
    _write_json(root / "jsons" / f"{split}.json", {"images": entries})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")
