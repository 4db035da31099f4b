"""Makes `docs/report.png`: the head of a report, as a browser shows it.

`python docs/pictures.py [run=runs/RUN]` takes the report of a run or, without one, of a search on
synthetic receipts that it does first (minutes). It needs Chromium.
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

from detector.errors import InputError, JobError  # noqa: E402
from orchestrator import search  # noqa: E402

PICTURE = ROOT / "docs" / "report.png"
LARGEST_BYTES = 300_000
WIDTH, HEIGHT = 1200, 1560
SEARCH = ("space=dbnetpp", "name=first", "budget.trials=6", "budget.epochs=8")
COLOURS = (None, 256, 128, 64)  # of the PNG, fewer where it would be too large


def main(options: dict[str, Any]) -> None:
    """Write the picture; JobError when it cannot be made small enough."""
    if find_chromium() is None:
        raise InputError("no Chromium is installed (Debian: apt install chromium)")
    with tempfile.TemporaryDirectory() as temporary:
        report = Path(options["run"] or _searched(Path(temporary))) / "report.html"
        if not report.is_file():
            raise InputError(f"{report}: no such file; python -m orchestrator.report writes it")
        shot = Path(temporary) / "shot.png"
        with chromium(Path(temporary) / "profile") as browser:
            browser.open(report, width=WIDTH, height=HEIGHT)
            browser.run("Promise.all([...document.images].slice(0, 3).map(i => i.decode()))")
            browser.screenshot(shot)
        PICTURE.write_bytes(_small(Image.open(shot).convert("RGB")))


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
