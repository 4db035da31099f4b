"""Every reader of files from others ends in a result or one clean message, whatever it is given.

FUZZ_EXAMPLES sets how many inputs each reader gets in the full run, FUZZ_SEED which ones.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from examples import examples
from fuzz import TARGETS, fuzz

from detector.data.labels.formats import formats

EXAMPLES = examples(int(os.environ.get("FUZZ_EXAMPLES", "200"))).max_examples
SEED = int(os.environ.get("FUZZ_SEED", "1"))


@pytest.mark.timeout(max(300, EXAMPLES))
@pytest.mark.parametrize("reader", TARGETS)
def test_only_results_and_clean_errors(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    counts = fuzz(reader, tmp_path, examples=EXAMPLES, seed=SEED)
    assert counts.others == []
    # Not all are broken. Of some readers none is refused: what is wrong is told word by word.
    assert counts.taken > EXAMPLES // 50
    assert counts.taken + counts.refused == counts.inputs == EXAMPLES


def test_every_format_is_given_inputs() -> None:
    assert formats().keys() <= TARGETS.keys()
