"""What trials are called."""

from __future__ import annotations

import pytest

from orchestrator.run.as_records import folder_name


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"lr": 0.1}, "00007"),
        ({"lr": 0.1, "backbone": "convnext_tiny"}, "00007_convnext_tiny"),
        ({"weights": "../a b/c"}, "00007_..-a-b-c"),
        ({"weights": "x" * 99}, "00007_" + "x" * 40),
    ],
)
def test_folder_names_are_short_and_safe(params, expected):
    assert folder_name(7, params) == expected
