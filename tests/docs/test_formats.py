"""docs/formats.md names the formats that there are, and how many."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detector.data.labels.formats import formats

ROOT = Path(__file__).parents[2]


def test_the_table_has_every_format_and_its_number_is_told() -> None:
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)) == list(formats())
    for page in ("docs/formats.md", "README.md", "README.ko.md"):
        assert f"{len(formats())}" in (ROOT / page).read_text(encoding="utf-8"), page


@pytest.mark.parametrize("page", ["README.md", "README.ko.md"])
def test_the_readme_has_a_table_of_them(page: str) -> None:
    _, _, after = (ROOT / page).read_text(encoding="utf-8").partition("`data.format`")
    table = after[: after.index("\n\n")]
    assert sorted(re.findall(r"`(\w+)`", table)) == list(formats())
