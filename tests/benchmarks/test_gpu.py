"""The check of a GPU: what it counts, that nothing ends it, and all of it small on a CPU."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gpu
import pytest
import torch
from examples import examples
from gpu_bench import FULL, TINY, Bench, repeated
from gpu_feed import covered
from gpu_figures import Figure, Outcome, at_least, at_most, holds, seen, table, without_gpu, write
from gpu_memory import beyond
from gpu_precision import apart
from hypothesis import given
from hypothesis import strategies as st

from detector.core.errors import InputError
from detector.data.labels.annotations import read_split
from detector.training.step_cost import predicted_bytes

SCRIPT = Path(gpu.__file__)


@pytest.fixture(scope="module")
def receipts(tmp_path_factory, make_dataset) -> Path:
    root = tmp_path_factory.mktemp("data")
    make_dataset(root, split="train", pages=3)
    return make_dataset(root, split="val", pages=4)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """One that no training looks at."""
    late = time.monotonic() + 600
    return Bench(torch.device("cpu"), TINY, tmp_path, tmp_path, tmp_path, "none", late)


def test_the_length_of_spans_counts_each_moment_once():
    assert covered([]) == 0
    assert covered([(5, 6), (0, 2), (1, 3)]) == 4
    assert covered([(0, 10), (2, 3), (4, 12)]) == 12


@examples(50)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=8))
def test_the_length_of_spans_is_that_of_their_union(drawn: list[tuple[int, int]]):
    moments = {m for start, length in drawn for m in range(start, start + length)}
    assert covered([(start, start + length) for start, length in drawn]) == len(moments)


def test_curves_are_compared_by_means_of_their_windows():
    one = torch.tensor([1.0, 3.0, 5.0, 5.0, 9.0])
    other = torch.tensor([2.0, 2.0, 4.0, 4.0, 1.0])
    assert apart(one, other, 2) == pytest.approx(0.25)  # the last step fills no window
    assert math.isnan(apart(one * math.nan, other, 2))


def test_a_goal_is_reached_from_its_value_on_and_never_by_nan():
    assert [at_least("a", v, 0.9).met for v in (0.89, 0.9, math.nan)] == [False, True, False]
    assert [at_most("a", v, 0.1).met for v in (0.11, 0.1, math.nan)] == [False, True, False]
    assert holds("a", True).met
    assert seen("a", 1).met is None


def test_without_a_gpu_its_figures_are_left_out_with_their_goals():
    assert without_gpu(at_least("a", 1.0, 0.9, "%")) == Figure(
        "a", None, "%", "≥ 90 %", note="not measured: no GPU"
    )
    other = seen("b", 2.0, of_gpu=False)
    assert without_gpu(other) == other


def test_the_table_says_what_was_reached_and_why_something_is_missing(tmp_path: Path):
    figures = (at_least("busy", 0.953, 0.9, "%"), at_most("apart", 0.0123, 0.01, "%"))
    others = (seen("crops", 1234.5, "a second", note="of one"), holds("goes on", False))
    outcomes = [
        Outcome("feed", figures, 12.4),
        Outcome("memory", others, 3.0, "JobError: it broke", failed=True),
        Outcome("late", reason="not measured: no time"),
    ]
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table(outcomes).split("\n")
    ]
    assert lines[2:11] == [
        ["**feed**", "", "12 s", ""],
        ["busy", "≥ 90 %", "95.3 %", "yes"],
        ["apart", "≤ 1 %", "1.23 %", "**no**"],
        ["**memory**", "", "3 s", ""],
        ["crops", "", "1,234 a second (of one)", ""],
        ["goes on", "yes", "no", "**no**"],
        ["", "", "failed", ""],
        ["**late**", "", "0 s", ""],
        ["", "", "left out", ""],
    ]
    assert table(outcomes).endswith("memory: JobError: it broke\n\nlate: not measured: no time")
    write(tmp_path, {"card": "a card"}, outcomes)
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert kept["about"] == {"card": "a card"}
    assert kept["parts"][0]["figures"][0]["value"] == 0.953
    assert (tmp_path / "gpu.md").read_text() == f"- card: a card\n\n{table(outcomes)}\n"


def test_a_part_that_fails_keeps_its_figures_and_the_others_go_on(bench: Bench):
    def broken(_: Bench) -> Iterator[Figure]:
        yield seen("first", 1.0, of_gpu=False)
        raise ValueError("two\nlines")

    def whole(_: Bench) -> Iterator[Figure]:
        yield holds("second", True)

    kept: list[int] = []
    parts = [gpu.Part("one", broken, 60), gpu.Part("two", whole, 60)]
    one, two = gpu.measured(bench, parts, lambda found: kept.append(len(found)))
    assert kept == [1, 2]
    assert (one.reason, one.failed) == ("ValueError: two lines", True)
    assert "in broken" in one.trace
    assert [figure.value for figure in one.figures] == [1.0]
    assert (two.reason, two.failed) == ("", False)
    assert [figure.value for figure in two.figures] == [None]


def test_a_part_without_time_is_left_out(bench: Bench):
    late = replace(bench, deadline=time.monotonic() - 1)
    outcome = gpu.outcome_of(gpu.Part("one", lambda _: iter([holds("a", True)]), 60), late)
    assert outcome == Outcome("one", reason="not measured: 60 s are needed, 0 s were left")


def test_a_part_that_takes_too_long_is_ended():
    with pytest.raises(TimeoutError, match="no time"), gpu.limited(0.05):
        time.sleep(60)
    with gpu.limited(60):
        pass


@pytest.mark.parametrize("free", [2e9, 80e9, 300e9])
def test_a_batch_is_found_that_a_card_cannot_hold(free: float, bench: Bench):
    config = beyond(replace(bench, sizes=FULL), free)
    needed = predicted_bytes(config, training=True, parts=1)
    assert 1.2 * free < needed < 3 * free


def test_receipts_are_repeated_as_files_with_the_same_words(tmp_path: Path, receipts: Path):
    found = repeated(receipts, tmp_path / "more", {"train": 7, "val": 2})
    pages, again = read_split(receipts, "train").pages, read_split(found, "train").pages
    assert len(again) == len({page.path for page in again}) == 7
    assert len(read_split(found, "val").pages) == 2
    for index, page in enumerate(again):
        before = pages[index % 3]
        assert page.path.read_bytes() == before.path.read_bytes()
        assert (page.width, page.height) == (before.width, before.height)
        for word, other in zip(page.words, before.words, strict=True):
            assert (word.text, word.ignore) == (other.text, other.ignore)
            assert word.points.tolist() == other.points.tolist()


def test_parts_are_chosen_by_name_in_their_own_order():
    assert [part.name for part in gpu.chosen("memory,feed")] == ["feed", "memory"]
    assert gpu.chosen(None) == gpu.PARTS
    with pytest.raises(InputError, match=r"^parts: 'fed' is not one of parity, feed, "):
        gpu.chosen("feed,fed")


def rehearsed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), f"out={folder}", *arguments],
        cwd=folder.parent,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_all_of_it_runs_on_a_cpu(tmp_path: Path, receipts: Path):
    done = rehearsed(tmp_path / "figures", f"data={receipts}")
    assert done.returncode == 0, done.stdout + done.stderr
    kept = json.loads((tmp_path / "figures" / "gpu.json").read_text())
    assert [part["part"] for part in kept["parts"]] == [part.name for part in gpu.PARTS]
    assert all(part["figures"] and not part["reason"] for part in kept["parts"])
    figures = [figure for part in kept["parts"] for figure in part["figures"]]
    measured = {f["name"]: f["value"] for f in figures if not f["of_gpu"]}
    resumed = "resumed after epoch 2 of 4: relative difference of the last loss"
    assert measured[resumed] == 0
    assert 0 <= measured["best H-mean on the validation split"] <= 1
    assert {f["note"] for f in figures if f["value"] is None} == {"not measured: no GPU"}
    assert done.stdout.endswith((tmp_path / "figures" / "gpu.md").read_text().partition("\n\n")[2])


@pytest.mark.slow
def test_a_failure_is_told_and_is_the_exit_code(tmp_path: Path):
    done = rehearsed(tmp_path / "figures", "parts=resume,prediction", "weights=none.pth")
    assert done.returncode == 1
    assert "\nresume: InputError: model.weights: no file at none.pth; " in done.stdout
    parts = json.loads((tmp_path / "figures" / "gpu.json").read_text())["parts"]
    assert [(part["failed"], len(part["figures"])) for part in parts] == [(True, 0), (False, 1)]
