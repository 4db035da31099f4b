"""`detector` is useful on its own: it never loads Ray or Optuna."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_detector_module_loads_ray_or_optuna():
    files = sorted((ROOT / "detector").rglob("*.py"))
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files]
    names = [n.removesuffix(".__init__") for n in names if "fonts" not in n]
    code = (
        f"import importlib, sys\nfor n in {names!r}: importlib.import_module(n)\n"
        "print([m for m in ('ray', 'optuna', 'orchestrator') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr
    assert len(names) > 20
