"""A folder as a user of the documentation has it: receipts, runs and files that pages speak of."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from doc_markdown import ROOT
from doc_rules import TINY, TINY_SEARCH

# Runs under names that pages use, which are these two again.
SAME_RUNS = {
    **dict.fromkeys(("runs/receipts", "runs/record"), "runs/first"),
    **dict.fromkeys(("runs/longer", "runs/short", "runs/whole"), "runs/one"),
}
LINKED = ("benchmarks", "search_spaces", "tests", "cluster.yaml", "pyproject.toml", "README.md")


class CommandProcess:
    """The process of `doc_process.py`, asked one request at a time."""

    def __init__(self, log: Path) -> None:
        self._log: IO[bytes] = log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("doc_process.py"))],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The answer to a request; AssertionError with the traceback when it was a crash."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do} | request, default=str) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process ended with {self._process.wait()}; see {self._log.name}"
        answer: dict[str, Any] = json.loads(line)
        assert "crash" not in answer, answer["crash"]
        return answer

    def run(
        self, module: str, arguments: Sequence[str], folder: Path, **variables: str
    ) -> tuple[int, str]:
        """Exit code and output of `python -m module arguments` in `folder`."""
        log = folder / ".output"
        answer = self.ask(
            "run",
            module=module,
            arguments=list(arguments),
            folder=folder,
            variables=variables,
            log=log,
        )
        return answer["code"], log.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()


def make_workspace(folder: Path, process: CommandProcess, address: str) -> Path:
    """Receipts, a search, a training and predictions, made by the commands themselves."""
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    (folder / "docs").mkdir()

    def make(module: str, *arguments: str) -> None:
        code, output = process.run(module, arguments, folder, RAY_ADDRESS=address)
        assert code == 0, f"python -m {module} {' '.join(arguments)}\n{output}"

    make(
        "detector.synthesize",
        *("root=receipts", "images=4", "val_images=3", "seed=1", "longest_side_px=256"),
    )
    make(
        "orchestrator.search",
        *("space=dbnetpp", "name=first", "data.root=receipts", "confirm.top=1", "confirm.seeds=1"),
        *(f"{key}={value}" for key, value in (TINY_SEARCH | {"budget.trials": "4"}).items()),
    )
    make("orchestrator.ensemble", "run=runs/first", "candidates=2")
    make("orchestrator.pack", "run=runs/first", "output=first.zip")
    make("detector.inspect", "data.root=receipts", "output=review")
    make(
        "detector.train",
        *("data.root=receipts", "output=runs/one"),
        *(f"{key}={value}" for key, value in TINY.items()),
    )
    make(
        "detector.predict",
        *("checkpoint=runs/one", "images=receipts/images/val", "output=pred.json"),
    )
    make(
        "detector.inspect",
        *("images=receipts/images/val", "checkpoint=runs/first/best", "output=next", "count=2"),
    )
    for copy, original in SAME_RUNS.items():
        copied(folder / original, folder / copy)
    (leader,) = (folder / "runs/first/trials").glob("*/seeds")
    copied(leader.parent, folder / "runs/leader")
    _write_icdar(folder)
    return folder


def _write_icdar(folder: Path) -> None:
    """The validation words as folders of ICDAR text files, for the metric of other people."""
    images = json.loads((folder / "receipts/jsons/val.json").read_text())["images"]
    for name in ("gt", "res"):
        (folder / name).mkdir()
        for image, page in images.items():
            lines = [
                ",".join(str(round(v)) for point in word["points"] for v in point)
                + (f",{word['transcription']}" if name == "gt" else "")
                for word in page["words"].values()
            ]
            path = folder / name / f"{name}_{Path(image).stem}.txt"
            path.write_text("\n".join(lines), encoding="utf-8")


def copied(source: Path, target: Path) -> Path:
    """A copy of a folder, links as they are; weights, never changed in place, share the disk."""

    def copy(old: str, new: str) -> None:
        if old.endswith(".safetensors"):
            os.link(old, new)
        else:
            shutil.copy2(old, new)

    shutil.copytree(source, target, symlinks=True, copy_function=copy)
    return target
