"""A trial beside another detector: who is ahead by how much, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from detector.core.errors import InputError, JobError
from orchestrator.peers.beside import FILE, Beside, Figures, Scored, keep, read_beside
from orchestrator.results.new_pages import NewPages

OWN, OTHER = Figures(0.9, 0.8, 0.875, 0.75), Figures(0.5, 0.4, 0.5, 0.25)
EXPECTED = NewPages("00002", 3, 4, 0.875, 0.875, 0.5, 1.0, 0.5, 1.0)


def scored(figures: Figures, *hmeans: float) -> Scored:
    return Scored(figures, dict(zip("abcdefgh", hmeans, strict=False)))


def test_it_is_ahead_by_the_mean_over_pages_that_both_have() -> None:
    found = Beside.of(scored(OWN, 0.75, 1.0, 0.5), scored(OTHER, 0.5, 0.75), "old", EXPECTED)
    assert (found.trial, found.other, found.pages) == ("00002", "old", 2)
    assert (found.ahead, found.low, found.high) == (0.25, 0.25, 0.25)
    assert (found.own, found.others) == (OWN, OTHER)
    assert found.sentence == (
        "With post-processing chosen for both in the same way, trial 00002 is 0.2500 ahead of old "
        "on 2 validation pages (+0.2500 to +0.2500)."
    )


def test_what_being_chosen_flatters_is_taken_off() -> None:
    sides = scored(OWN, 0.75, 0.75), scored(OTHER, 0.75, 0.75)
    found = Beside.of(*sides, "old", replace(EXPECTED, hmean=0.75))
    assert (found.flattered, found.ahead) == (0.125, -0.125)
    assert found.sentence == (
        "With post-processing chosen for both in the same way, trial 00002 is 0.1250 behind old "
        "on 2 validation pages, less 0.1250 by which being the best of the run flatters it "
        "(-0.1250 to -0.1250)."
    )


def test_where_the_interval_holds_0_nothing_is_claimed() -> None:
    found = Beside.of(scored(OWN, 0.75, 0.25), scored(OTHER, 0.25, 0.5), "old", EXPECTED)
    assert (found.ahead, found.low, found.high) == (0.125, -0.25, 0.5)
    assert found.sentence.endswith("(-0.2500 to +0.5000). These pages cannot tell them apart.")


def test_without_a_page_that_both_have_there_is_nothing_to_compare() -> None:
    with pytest.raises(JobError, match="no validation page has a score by both detectors"):
        Beside.of(scored(OWN, 0.5), Scored(OTHER, {"z": 0.5}), "old", EXPECTED)


def test_one_is_kept_for_each_other_detector_and_the_last_counts(tmp_path: Path) -> None:
    assert read_beside(tmp_path) == []
    found = Beside.of(scored(OWN, 0.75, 0.25), scored(OTHER, 0.25, 0.5), "old", EXPECTED)
    third = replace(found, other="third")
    for one in (replace(found, ahead=0.5), third, found):
        keep(tmp_path, one)
    assert read_beside(tmp_path) == [found, third]


@pytest.mark.parametrize("text", ["[]", '{"beside": [{"trial": "00000"}]}', '{"beside": [1]}'])
def test_a_file_that_was_changed_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=r"beside.json: not as it was written, .*; delete it"):
        read_beside(tmp_path)
