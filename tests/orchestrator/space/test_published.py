from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from detector.core.errors import InputError
from orchestrator.results.printed import compare
from orchestrator.space.published import Published
from orchestrator.space.search_space import SearchSpace, load_space
from orchestrator.trials.records import TrialRecord, TrialState

FIGURES = (
    "published.row: first, published.hmean: 0.5, published.precision: 0.75, published.recall: 1"
)
SPACE = """\
parameters:
  model.fusion: {{choice: [none, scale_spatial]}}
  postprocess.box_thresh: {{choice: [0.4, 0.5]}}
warm_start:
  - {{{point}}}
"""
POINT = "model.fusion: none, postprocess.box_thresh: 0.4"


def load(folder: Path, point: str, **options: object) -> SearchSpace:
    path = folder / "space.yaml"
    path.write_text(SPACE.format(point=point), encoding="utf-8")
    return load_space(str(path), **{"gpu": True, **options})  # type: ignore[arg-type]


def faults(folder: Path, point: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(folder, point)
    return [line.removeprefix(f"{folder}/") for line in str(caught.value).splitlines()]


def test_figures_stand_with_their_point_and_are_no_settings(tmp_path: Path) -> None:
    space = load(tmp_path, f"{FIGURES}, {POINT}")
    point = {"model.fusion": "none", "postprocess.box_thresh": 0.4}
    assert space.warm_start == (point,)
    assert space.published == (Published(point, 0.5, 0.75, 1.0, "first"),)


def test_a_space_without_figures_has_none(tmp_path: Path) -> None:
    assert load(tmp_path, POINT).published == ()


def test_figures_survive_the_resolved_space(tmp_path: Path) -> None:
    plain, other = "model.fusion: scale_spatial, postprocess.box_thresh: 0.5", POINT
    again = f"published.row: second, {FIGURES.partition(', ')[2]}"
    # The first point is published twice; the equal rows have a plain point between them.
    text = f"{FIGURES}, {other}}}\n  - {{{plain}}}\n  - {{{again}, {other}"
    space = load(tmp_path, text)
    assert len(space.warm_start) == 2
    assert [row.row for row in space.published] == ["first", "second"]
    copy = tmp_path / "copy.yaml"
    copy.write_text(space.to_yaml(), encoding="utf-8")
    assert load_space(str(copy), gpu=False) == SearchSpace(
        **{**vars(space), "name": "space", "notes": ()}
    )


def test_a_setting_held_at_another_value_is_told(tmp_path: Path) -> None:
    text = f"{FIGURES}, {POINT}"
    (same,) = load(tmp_path, text, overrides={"model.fusion": "none"}).published
    (other,) = load(tmp_path, text, overrides={"model.fusion": "scale_spatial"}).published
    assert same.row == "first"
    assert other.row == "first (here model.fusion=scale_spatial)"
    assert other.point == {"postprocess.box_thresh": 0.4}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            FIGURES.replace("0.75", "97.5"),
            "published.precision: must be a score from 0 to 1 (per cent divided by 100), got 97.5",
        ),
        (
            FIGURES.replace("0.75", "true"),
            "published.precision: must be a score from 0 to 1 (per cent divided by 100), got True",
        ),
        (
            FIGURES.replace("0.75", ".nan"),
            "published.precision: must be a score from 0 to 1 (per cent divided by 100), got nan",
        ),
        (
            FIGURES.replace("row: first", "row: 3"),
            "published.row: must be a line of text that says what was published, got 3",
        ),
        (
            FIGURES + ", published.recal: 1",
            "published.recal: unknown key; did you mean recall?",
        ),
        (
            FIGURES + ", published.x: 1",
            "published.x: unknown key; valid: row, hmean, precision, recall",
        ),
        (
            "published.hmean: 0.5, published.recall: 1",
            "published.hmean: figures are published together; add published.row, "
            "published.precision, or remove them all",
        ),
    ],
)
def test_faulty_figures(tmp_path: Path, given: str, message: str) -> None:
    assert faults(tmp_path, f"{given}, {POINT}") == [f"space.yaml:5: {message}"]


def test_all_faults_of_a_row_are_told_at_once(tmp_path: Path) -> None:
    assert faults(tmp_path, "published.hmean: -1") == [
        "space.yaml:5: published.hmean: must be a score from 0 to 1 (per cent divided by 100), "
        "got -1",
        "space.yaml:5: published.hmean: figures are published together; add published.row, "
        "published.precision, published.recall, or remove them all",
        "space.yaml:5: published.hmean: belongs to no setting; add the point's",
    ]


def test_figures_belong_to_warm_starts_only(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "fixed: {published.hmean: 0.5}\nparameters: {optimizer.lr: {uniform: [0.1, 0.2]}}\n"
    )
    with pytest.raises(InputError, match=r"space.yaml:1: published.hmean: unknown key"):
        load_space(str(path), gpu=True)


PUBLISHED = (
    Published({"model.fusion": "none"}, 0.5, 0.6, 0.4, "plain"),
    Published({"model.fusion": "scale_spatial"}, 0.75, 0.8, 0.7, "fused [a]"),
)


def printed(
    records: list[TrialRecord], published: tuple[Published, ...] = PUBLISHED, *, width: int = 120
) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(compare(published, records))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def test_published_beside_measured() -> None:
    records = [
        TrialRecord(
            "00002",
            TrialState.FINISHED,
            {"model.fusion": "none"},
            hmean=0.25,
            precision=0.3,
            recall=0.2,
        )
    ]
    text = printed(records)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "published measured" in lines
    assert "row H-mean P R H-mean P R trial state" in lines
    assert "plain 0.5000 0.6000 0.4000 0.2500 0.3000 0.2000 00002 finished" in lines
    assert "fused [a] 0.7500 0.8000 0.7000 not run" in lines
    assert "published: the authors' pages and budget; measured: this run's" in text


def test_every_column_fits_a_narrow_terminal() -> None:
    row = (Published({"model.fusion": "none"}, 0.5, 0.6, 0.4, "DBNet, a row of many words"),)
    record = TrialRecord(
        "00002", TrialState.FINISHED, row[0].point, hmean=0.25, precision=0.3, recall=0.2
    )
    text = printed([record], row, width=80)
    for cell in ("DBNet,", "words", "0.5000", "0.4000", "0.2500", "0.2000", "00002", "finished"):
        assert cell in text


def test_the_best_of_equal_trials_is_shown_and_its_state() -> None:
    point = {"model.fusion": "none"}
    records = [
        TrialRecord("00000", TrialState.FAILED, point, hmean=0.9),
        TrialRecord("00001", TrialState.STOPPED, point, hmean=0.5),
        TrialRecord("00002", TrialState.FINISHED, point, hmean=0.25),
        TrialRecord("00003", TrialState.FINISHED, point, hmean=0.125),
    ]
    assert "0.2500 00002 finished" in " ".join(printed(records).split())
    assert "0.5000 00001 stopped" in " ".join(printed(records[:2]).split())


def test_a_failed_trial_has_no_score_and_a_running_one_may_have_none() -> None:
    failed = TrialRecord("00000", TrialState.FAILED, {"model.fusion": "none"}, hmean=float("nan"))
    running = TrialRecord("00001", TrialState.RUNNING, {"model.fusion": "scale_spatial"})
    lines = [" ".join(line.split()) for line in printed([failed, running]).splitlines()]
    assert "plain 0.5000 0.6000 0.4000 00000 failed" in lines
    assert "fused [a] 0.7500 0.8000 0.7000 00001 running" in lines


def test_trials_are_matched_by_all_settings_of_the_row() -> None:
    row = (Published({"preprocess.crop": True, "loss.negative_ratio": 3.0}, 1, 1, 1, "row"),)
    for params in (
        {"preprocess.crop": True},
        {"preprocess.crop": 1, "loss.negative_ratio": 3.0},
        {"preprocess.crop": True, "loss.negative_ratio": 3.5},
    ):
        assert "not run" in printed([TrialRecord("00000", TrialState.FINISHED, params)], row)
    more = {"preprocess.crop": True, "loss.negative_ratio": 3, "optimizer.lr": 0.1}
    assert "finished" in printed([TrialRecord("00000", TrialState.FINISHED, more)], row)
