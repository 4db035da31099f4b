"""`python -m detector.cleval`: the JSON on stdout, the notes on stderr, the exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from detector.cleval import Settings, main, score_files
from detector.core.errors import InputError


def word(left, top, right, bottom, **more):
    return {"points": [[left, top], [right, top], [right, bottom], [left, bottom]], **more}


def write(path: Path, pages: dict) -> Path:
    images = {
        name: {"words": words if words is None else dict(enumerate(words))}
        for name, words in pages.items()
    }
    path.write_text(json.dumps({"images": images}), encoding="utf-8")
    return path


@pytest.fixture
def gt(tmp_path):
    # a: two words of 10 and 4 characters (6 and 3 without texts); b: one of 10 (6)
    return write(
        tmp_path / "gt.json",
        {
            "a.jpg": [
                word(0, 0, 100, 20, transcription="abcdefghij"),
                word(0, 40, 50, 60, transcription="klmn"),
                word(0, 80, 50, 99, ignore=True),
                {"points": [[1, 1], [2, 2]]},
            ],
            "b.jpg": [word(0, 0, 100, 20, transcription="abcdefghij")],
            "c.jpg": None,
        },
    )


@pytest.fixture
def pred(tmp_path):
    return write(tmp_path / "pred.json", {"a.jpg": [word(0, 0, 100, 20), word(0, 80, 50, 99)]})


def test_official_sums_and_competition_means(gt, pred, capsys):
    official = score_files(Settings(gt=gt, pred=pred, dialect="official"))
    # page a: 10 of 14 characters; page b is not predicted: 0 of 10
    assert official["recall"] == pytest.approx(10 / 24)
    assert official["precision"] == 1
    competition = score_files(Settings(gt=gt, pred=pred))
    assert competition["recall"] == pytest.approx((6 / 9 + 0) / 2)
    assert competition["precision"] == pytest.approx(0.5)
    for scores in (official, competition):
        assert (scores["iou_recall"], scores["iou_precision"]) == (1 / 3, 1)
        assert (scores["pages"], scores["missing_pages"], scores["unlabelled_pages"]) == (2, 1, 1)
        assert (scores["words"], scores["ignored_words"], scores["excluded_words"]) == (3, 1, 1)
        assert (scores["detections"], scores["ignored_detections"]) == (1, 1)
    notes = capsys.readouterr().err
    assert "1 pages are missing in" in notes
    assert "b.jpg" in notes
    assert "1 pages have no words in" in notes


def test_stdout_is_the_json_and_nothing_else(gt, pred, capsys):
    main(Settings(gt=gt, pred=pred, dialect="official"))
    out = capsys.readouterr().out
    assert json.loads(out)["dialect"] == "official"


def test_every_layout_gives_the_same_scores(tmp_path, gt, pred):
    csv = tmp_path / "pred.csv"
    csv.write_text("filename,polygons\na.jpg,0 0 100 0 100 20 0 20|0 80 50 80 50 99 0 99\n")
    folder = tmp_path / "icdar"
    folder.mkdir()
    (folder / "res_a.txt").write_text("0,0,100,0,100,20,0,20\n0,80,50,80,50,99,0,99\n")
    expected = score_files(Settings(gt=gt, pred=pred))
    for path in (csv, folder):
        assert score_files(Settings(gt=gt, pred=path)) == expected


def test_unknown_pages_are_refused(tmp_path, gt):
    other = write(tmp_path / "other.json", {"z.jpg": []})
    with pytest.raises(InputError, match=r"1 pages are not in .*: z\.jpg"):
        score_files(Settings(gt=gt, pred=other))


def run_command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "detector.cleval", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def test_the_command(gt, pred):
    done = run_command(f"gt={gt}", f"pred={pred}", "dialect=official")
    assert done.returncode == 0
    assert json.loads(done.stdout)["recall"] == pytest.approx(10 / 24)
    refused = run_command(f"gt={gt}", "pred=nowhere.json", "dialect=official")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: nowhere.json: does not exist")
    wrong = run_command(f"gt={gt}", f"pred={pred}", "dialect=mine")
    assert wrong.returncode == 2
    assert "dialect" in wrong.stderr
    assert "competition" in wrong.stderr


def test_pages_are_drawn_on_white_and_on_their_photos(gt, pred, tmp_path):
    from detector.data.page.images import read_image

    score_files(Settings(gt=gt, pred=pred, draw=tmp_path / "white"))
    assert sorted(p.name for p in (tmp_path / "white").iterdir()) == ["a.png", "b.png"]
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (300, 120), (200, 30, 30)).save(photos / name)
    score_files(Settings(gt=gt, pred=pred, draw=tmp_path / "red", images=photos))
    on_white, on_red = (read_image(tmp_path / kind / "a.png") for kind in ("white", "red"))
    assert on_red.shape[1] == 300
    # 0.6 of the way from white, and what JPEG makes of it
    assert on_red[110, 290].tolist() == pytest.approx([222, 120, 120], abs=4)
    assert on_white[2, -2].tolist() == [255, 255, 255]
    truth = tmp_path / "texts"
    truth.mkdir()
    (truth / "gt_a.txt").write_text("0,0,100,0,100,20,0,20,abc\n")
    score_files(Settings(gt=truth, pred=truth, draw=tmp_path / "texts_red", images=photos))
    assert read_image(tmp_path / "texts_red" / "a.png").shape == on_red.shape
    (photos / "b.jpg").unlink()
    with pytest.raises(InputError, match=r"b\.jpg"):
        score_files(Settings(gt=gt, pred=pred, draw=tmp_path / "none", images=photos))


def test_blank_pages_can_be_left_out_of_the_mean(tmp_path):
    truth = write(tmp_path / "gt.json", {"a.jpg": [word(0, 0, 100, 20)], "blank.jpg": []})
    found = write(tmp_path / "pred.json", {"a.jpg": [word(0, 0, 100, 20)]})
    both = {"gt": truth, "pred": found}
    assert score_files(Settings(**both))["hmean"] == 1
    assert score_files(Settings(**both, dialect="competition"))["hmean"] == 0.5
    assert score_files(Settings(**both, dialect="competition", blank="skip"))["hmean"] == 1
    assert score_files(Settings(**both, blank="zero"))["hmean"] == 0.5
    assert score_files(Settings(**both))["blank_pages"] == 1


def test_the_contests_cut_of_detections(tmp_path, capsys):
    truth = write(tmp_path / "gt.json", {"a.jpg": [word(0, 0, 100, 20)]})
    others = [word(x, 50, x + 10, 60) for x in range(0, 10000, 20)]
    found = write(tmp_path / "pred.json", {"a.jpg": [*others, word(0, 0, 100, 20)]})
    both = {"gt": truth, "pred": found}
    contest = score_files(Settings(**both, dialect="competition"))
    assert (contest["recall"], contest["detections"], contest["cut_pages"]) == (0, 500, 1)
    assert "1 pages have more than 500 detections in" in capsys.readouterr().err
    every = [{}, {"dialect": "official"}, {"dialect": "competition", "most_detections": None}]
    for options in every:
        scores = score_files(Settings(**both, **options))
        assert (scores["recall"], scores["detections"], scores["cut_pages"]) == (1, 501, 0)
    assert score_files(Settings(**both, most_detections=3))["detections"] == 3


def test_what_of_the_files_counts_otherwise_than_it_may_seem_is_told(tmp_path, gt, capsys):
    folder = tmp_path / "icdar"
    folder.mkdir()
    for name in "abz":
        (folder / f"res_{name}.txt").write_text("0,0,100,20,0.9\n")
    scores = score_files(Settings(gt=gt, pred=folder))
    assert (scores["extra_pages"], scores["missing_pages"], scores["detections"]) == (1, 0, 2)
    notes = capsys.readouterr().err
    assert "icdar: lines of four numbers are read as left,top,right,bottom (2 times)" in notes
    assert "icdar: confidence left out (2 times)" in notes
    assert "1 pages of" in notes
    assert "are left out: z" in notes
