"""Makes the README's pictures: `docs/report.png`, the head of a report as a browser shows it, and
`docs/receipt.png`, a validation page with what the best detector of the run finds on it.

`python docs/pictures.py [run=runs/RUN]` takes a run or, without one, a search on synthetic receipts
that it does first (minutes). It needs Chromium.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))  # as for a script that lies there

from chromium import chromium, find_chromium  # noqa: E402
from timing import run  # noqa: E402

from detector.core.errors import InputError, JobError  # noqa: E402
from detector.inference.detector import load_detector  # noqa: E402
from detector.inference.prediction import find_images, predict  # noqa: E402
from orchestrator import search  # noqa: E402

REPORT, RECEIPT = ROOT / "docs" / "report.png", ROOT / "docs" / "receipt.png"
LARGEST_BYTES = 300_000
WIDTH, HEIGHT = 1200, 1560
RECEIPT_PX = 1100  # its longest side
SEARCH = ("space=dbnetpp", "name=first", "budget.trials=6", "budget.epochs=8")
COLOURS = (None, 256, 128, 64)  # of the PNG, fewer where it would be too large


def main(options: dict[str, Any]) -> None:
    """Write the pictures; JobError when they cannot be made small enough."""
    if find_chromium() is None:
        raise InputError("no Chromium is installed (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory() as temporary:
        run_folder = Path(options["run"] or _searched(Path(temporary)))
        report = run_folder / "report.html"
        if not report.is_file():
            raise InputError(f"{report}: no such file; python -m orchestrator.report writes it")
        REPORT.write_bytes(_small(_shown(report, Path(temporary))))
        RECEIPT.write_bytes(_small(_detected(run_folder, Path(temporary))))


def _shown(report: Path, temporary: Path) -> Image.Image:
    """The head of the report."""
    shot = temporary / "shot.png"
    with chromium(temporary / "profile") as browser:
        browser.open(report, width=WIDTH, height=HEIGHT)
        browser.run("Promise.all([...document.images].slice(0, 3).map(i => i.decode()))")
        browser.screenshot(shot)
    return Image.open(shot).convert("RGB")


def _detected(run_folder: Path, temporary: Path) -> Image.Image:
    """The first validation page with what the run's best detector finds on it."""
    detector, config = load_detector(run_folder / "best")
    assert config.data.root is not None  # a search trains on something
    images, _ = find_images(config.data.root / "images" / "val")
    name, image = next(iter(images.items()))
    predict(detector, {name: image}, visualize=temporary)
    page = Image.open(temporary / f"{name}.png").convert("RGB")
    page.thumbnail((RECEIPT_PX, RECEIPT_PX))
    return page


def _searched(folder: Path) -> Path:
    """The run folder of a new search, which shows its usual place on the page."""
    os.chdir(folder)
    search.main(SEARCH)
    return folder / "runs" / "first"


def _small(picture: Image.Image) -> bytes:
    """A PNG of as many colours as LARGEST_BYTES allow; all of them where it can."""
    for colours in COLOURS:
        coded = io.BytesIO()
        reduced = picture if colours is None else picture.quantize(colours)
        reduced.save(coded, "PNG", optimize=True)
        if coded.tell() <= LARGEST_BYTES:
            return coded.getvalue()
    raise JobError(f"the picture takes {coded.tell()} bytes, more than {LARGEST_BYTES}")


if __name__ == "__main__":
    run(main, {"run": None}, __doc__ or "")
