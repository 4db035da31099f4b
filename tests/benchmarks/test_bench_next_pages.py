"""The benchmark of pages to label next: which pages are compared, and what it says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_hard_pages
import bench_next_pages
import numpy as np
import pytest

from detector.core.errors import InputError
from orchestrator.page_parts.scores import Scored

NAMES = [f"{i:02d}.jpg" for i in range(20)]


@pytest.fixture
def receipts(make_dataset: Callable[..., Path], tmp_path: Path) -> Path:
    root = make_dataset(tmp_path / "receipts", split="train", pages=6)
    return make_dataset(root, split="val", pages=2, seed=1)


@pytest.fixture
def small(
    receipts: Path,
    tiny_settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """Options with which a training takes a second."""
    monkeypatch.setitem(bench_next_pages.STARTS, "lite0", tiny_settings)
    return {"data": str(receipts), "folder": str(tmp_path / "next"), "epochs": 1, "seeds": 1}


def test_pages_are_drawn_alike_for_a_seed_and_in_one_part_only() -> None:
    labelled, others = bench_next_pages.drawn(NAMES, 5, seed=1)
    assert (labelled, others) == bench_next_pages.drawn(NAMES, 5, seed=1)
    assert labelled != bench_next_pages.drawn(NAMES, 5, seed=2)[0]
    assert sorted(labelled + others) == NAMES
    assert len(labelled) == 5


def test_the_smaller_sets_lie_within_the_larger_ones() -> None:
    others, chosen = list("abcdefgh"), list("hcf")
    assert bench_next_pages.parts(others, chosen, 2) == {
        "nothing": [],
        "2 random": ["a", "b"],
        "3 random": ["a", "b", "c"],
        "2 chosen": ["h", "c"],
        "3 chosen": ["h", "c", "f"],
    }


def scored(hmeans: list[float]) -> Scored:
    return Scored(float(np.mean(hmeans)), 0.5, dict(zip("ab", hmeans, strict=False)))


def test_the_table_has_a_row_for_each_set_of_pages_with_the_mean_of_seeds() -> None:
    scores = [{"nothing": scored([0.6, 0.8])}, {"nothing": scored([0.8, 0.9])}]
    assert bench_next_pages.lines(scores) == [
        "| added | seed 0 | seed 1 | mean | IoU |",
        "|---|---|---|---|---|",
        "| nothing | 0.7000 | 0.8500 | 0.7750 | 0.5000 |",
    ]


def test_what_is_ahead_is_told_over_pages_that_both_have_with_an_interval() -> None:
    same = {"x": scored([0.75, 0.5]), "y": scored([0.5, 0.25])}
    assert bench_next_pages.compared([same, same], "x", "y") == (
        "x less y: +0.2500 (+0.2500 to +0.2500)"
    )
    # One page is ahead and one behind: of two drawn with replacement both may be either.
    mixed = {"x": scored([0.75, 0.25]), "y": scored([0.5, 0.5])}
    assert bench_next_pages.compared([mixed], "x", "y") == "x less y: +0.0000 (-0.2500 to +0.2500)"
    fewer = {"x": scored([0.75]), "y": scored([0.5, 0.5])}
    assert bench_next_pages.compared([fewer], "x", "y").startswith("x less y: +0.2500")


@pytest.mark.slow
def test_each_set_of_pages_is_trained_on_and_kept(
    tmp_path: Path, small: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """A real training each, of one epoch; the second time all is read, and is the same."""
    own = small | {"labelled": 2, "more": 2, "fewer": 1}
    options = bench_next_pages.DEFAULTS | own
    bench_next_pages.main(options)
    first = capsys.readouterr().out
    folder = tmp_path / "next" / "lite0-1-2-0"
    labels = json.loads((folder / "2-chosen/data/jsons/train.json").read_text())["images"]
    base = json.loads((folder / "nothing/data/jsons/train.json").read_text())["images"]
    chosen = json.loads((folder / "chosen-2.json").read_text())
    assert labels.keys() == base.keys() | set(chosen)
    assert not base.keys() & set(chosen)
    bench_next_pages.main(options)
    assert capsys.readouterr().out == first
    assert "| 1 chosen | 0." in first


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "data: must be given"),
        ({"start": "scratch"}, "start: one of lite0, ppocr, light, got 'scratch'"),
        ({"labelled": 900}, r"data: \d+ training pages are fewer than labelled=900 and more=60"),
    ],
)
def test_what_cannot_be_is_refused(receipts: Path, given: dict[str, Any], message: str) -> None:
    data = {"data": str(receipts)} if given else {}
    with pytest.raises(InputError, match=message):
        bench_next_pages.main(bench_next_pages.DEFAULTS | data | given)


@pytest.mark.slow
def test_hard_pages_are_trained_on_more_often(
    tmp_path: Path, small: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    own = small | {"labelled": 3, "hard": 1, "times": 3}
    bench_hard_pages.main(bench_hard_pages.DEFAULTS | own)
    folder = tmp_path / "next" / "lite0-1-3-0"
    once, often = (
        json.loads((folder / name / "data/jsons/train.json").read_text())["images"]
        for name in ("nothing", "hard-pages-more-often")
    )
    assert len(once) == 3
    assert len(often) == 5
    (hard,) = {name.split("again-")[-1] for name in often if name.startswith("again-")}
    assert often[hard] == often[f"again-{hard}"] == once[hard]
    assert "| hard pages more often | 0." in capsys.readouterr().out


def test_the_hardest_pages_have_the_lowest_scores() -> None:
    assert bench_hard_pages.hardest({"c": 0.5, "a": 0.9, "b": 0.5}, 2) == ["b", "c"]
