"""Every reader of files from others ends in a result or one clean message, whatever it is given.

FUZZ_EXAMPLES sets how many inputs each reader gets in the full run, FUZZ_SEED which ones.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from examples import examples

EXAMPLES = examples(int(os.environ.get("FUZZ_EXAMPLES", "200"))).max_examples
SEED = int(os.environ.get("FUZZ_SEED", "1"))


@pytest.mark.timeout(max(300, EXAMPLES))
@pytest.mark.parametrize("reader", ["annotations", "icdar", "space", "checkpoint"])
def test_only_results_and_clean_errors(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fuzz

    monkeypatch.chdir(tmp_path)
    counts = fuzz.fuzz(reader, tmp_path, examples=EXAMPLES, seed=SEED)
    assert counts.others == []
    # Both ways were taken, so the inputs are neither all broken nor all harmless.
    assert counts.taken > EXAMPLES // 20
    assert counts.refused > (0 if reader == "icdar" else EXAMPLES // 20)  # faults told by page
    assert counts.taken + counts.refused == counts.inputs >= EXAMPLES
