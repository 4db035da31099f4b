"""`pages.json`: trainings and curve, kept and read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.core.errors import InputError, JobError
from orchestrator.page_parts.kept import FILE, PageCurve, read_curve
from orchestrator.page_parts.scores import Scored
from orchestrator.propose.kept import KeptTrainings, best_of


def scores(*hmeans: float, **more: float) -> Scored:
    """Of pages a, b, ... and those that are named."""
    pages = dict(zip("abc", hmeans, strict=False)) | more
    return Scored(sum(pages.values()) / len(pages), 0.5, pages)


def falling() -> PageCurve:
    every = [scores(0.90, 0.92, d=0.0), scores(0.92, 0.94), scores(0.934, 0.954)]
    return PageCurve.of("00003", [(25, 8), (50, 4), (100, 2)], every)


def test_a_curve_is_of_pages_that_all_have_scores_of():
    curve = falling()
    assert curve.validation_pages == 2
    assert [point.hmean for point in curve.points] == pytest.approx([0.91, 0.93, 0.944])
    assert (curve.points[0].pages, curve.points[0].epochs) == (25, 8)
    assert curve.twice.pages == 200
    assert curve.twice.hmean == pytest.approx(0.944 + curve.twice.gain)
    with pytest.raises(JobError, match="no validation page has a score after every training"):
        PageCurve.of("00003", [(25, 8), (50, 4)], [scores(d=0.5), scores(0.5)])


def test_the_sentence_says_what_twice_the_pages_bring():
    curve, then = falling(), falling().twice
    assert curve.sentence == (
        f"Twice the training pages, 200, are expected to bring +{then.gain:.4f} H-mean "
        f"({then.gain_low:.4f} to {then.gain_high:.4f}): {then.hmean:.4f} in place of 0.9440."
    )
    flat = PageCurve.of("0", [(25, 8), (50, 4)], [scores(0.9, 0.8), scores(0.8, 0.9)])
    assert flat.sentence.endswith("in place of 0.8500, if it is anything but luck.")


def test_what_is_kept_is_read_again_and_a_training_without_weights_is_not(tmp_path: Path):
    assert read_curve(tmp_path) is None
    training = tmp_path / "trials/00003/pages/25-of-100"
    kept = KeptTrainings(tmp_path, FILE)
    kept.keep(training, {"hmean": 0.9})
    assert KeptTrainings(tmp_path, FILE).of(training) is None
    best_of(training).mkdir(parents=True)
    assert KeptTrainings(tmp_path, FILE).of(training) == {"hmean": 0.9}
    assert read_curve(tmp_path) is None
    kept.write(curve=falling().as_json())
    assert read_curve(tmp_path) == falling()
    assert KeptTrainings(tmp_path, FILE).of(training) == {"hmean": 0.9}


@pytest.mark.parametrize("text", ["[]", '{"trainings": 1}', '{"curve": {}}', "{"])
def test_a_file_that_was_changed_is_one_message(text: str, tmp_path: Path):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=FILE):
        read_curve(tmp_path)
