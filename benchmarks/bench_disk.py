"""What a search leaves on the disk, and the most that it takes while it runs.

`python benchmarks/bench_disk.py [trials=20] [space=smoke] [disk_gb=1] [folder=FOLDER]` runs a
search of so many short trials on synthetic receipts, with its run, Ray's folder and the cache below
`folder` (one of its own, which is deleted, without it), and looks at their sizes once a second.
`disk_gb` is the search's `budget.disk_gb`. A `folder` on a small file system shows whether that is
enough.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import run

from detector.core.errors import JobError
from detector.training.storage.generations import LAST, PREVIOUS

DEFAULTS = {"trials": 20, "space": "smoke", "disk_gb": None, "folder": None}
ROOT = Path(__file__).parents[1]
MB = 10**6
PARTS: dict[str, Callable[[Path], bool]] = {
    "states of training": lambda path: path.name in (LAST, PREVIOUS),
    "weights": lambda path: path.suffix == ".safetensors",
    "events of TensorBoard": lambda path: path.name.startswith("events.out"),
    "the rest of the run": lambda path: "runs" in path.parts,
    "Ray": lambda path: "ray" in path.parts,
    "cache": lambda _: True,
}


def main(options: dict[str, Any]) -> None:
    if options["folder"] is not None:
        measure(Path(options["folder"]).resolve(), options)
        return
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        measure(Path(folder), options)


def measure(folder: Path, options: dict[str, Any]) -> None:
    """Run the search and print the table."""
    limits = {f"budget.{key}": options[key] for key in ("trials", "disk_gb") if options[key]}
    given = [f"{key}={value}" for key, value in limits.items()]
    most, end = watched(folder, [f"space={options['space']}", *given])
    print(f"space={options['space']} {' '.join(given)}\n")
    print("| MB | at the end | at most |")
    print("|---|---|---|")
    for name in PARTS:
        print(f"| {name} | {end[name] / MB:.1f} | {most[name] / MB:.1f} |")
    print(f"| all | {end.total() / MB:.1f} | {most['all'] / MB:.1f} |")


def watched(folder: Path, arguments: list[str]) -> tuple[Counter[str], Counter[str]]:
    """The most and the last bytes by part; JobError when the search fails."""
    for name in ("runs", "ray", "cache"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "orchestrator.search", *arguments, "name=disk"]
    more = [f"runs_dir={folder / 'runs'}", "resources.gpus_per_trial=0"]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {
        "RAY_TMPDIR": str(folder / "ray"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    most: Counter[str] = Counter()
    with (folder / "search.log").open("w") as log:
        search = subprocess.Popen([*command, *more], env=environment, stdout=log, stderr=log)
        while search.poll() is None:
            now = sizes(folder)
            most |= now
            most["all"] = max(most["all"], now.total())
            time.sleep(1)
    if search.returncode:
        raise JobError(f"the search failed: {(folder / 'search.log').read_text()[-500:]}")
    return most, sizes(folder)


def sizes(folder: Path) -> Counter[str]:
    """Bytes below a folder by part; a file of several names counts once."""
    found, seen = Counter(dict.fromkeys(PARTS, 0)), set()
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                stat = path.lstat()
            except FileNotFoundError:  # it has gone since
                continue
            if stat.st_ino not in seen:
                seen.add(stat.st_ino)
                inside = path.relative_to(folder)
                part = next(part for part, has in PARTS.items() if has(inside))
                found[part] += stat.st_blocks * 512
    return found


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__)
