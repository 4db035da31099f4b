from __future__ import annotations

import json

import cv2
import pytest

from detector.core.errors import InputError
from detector.data.labels.annotations import read_split
from detector.data.synthetic.fonts import find_fonts
from detector.data.synthetic.receipts import make_page, synthesize

SMALL = {"images": 3, "val_images": 2, "seed": 4, "longest_side_px": 256}


def contents(root):
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return synthesize(tmp_path_factory.mktemp("made") / "set", **SMALL)


def test_layout(made):
    names = set(contents(made))
    assert names == {
        "synthetic.json",
        "jsons/train.json",
        "jsons/val.json",
        *(f"images/train/train_0000{i}.jpg" for i in range(3)),
        *(f"images/val/val_0000{i}.jpg" for i in range(2)),
    }


def test_json_describes_the_images(made):
    for split in ("train", "val"):
        pages = json.loads((made / "jsons" / f"{split}.json").read_text(encoding="utf-8"))["images"]
        for name, page in pages.items():
            image = cv2.imread(str(made / "images" / split / name))
            assert image.shape == (page["img_h"], page["img_w"], 3)
            for word in page["words"].values():
                assert len(word["points"]) >= 4
                assert word["orientation"] in ("Horizontal", "Vertical")
                assert word["language"][0] in ("ko", "en", "num", "others")
                assert word.get("ignore", True) is True  # written only when true
                assert (word["transcription"] == "") == ("ignore" in word)


def test_the_same_seed_gives_the_same_bytes(made, tmp_path):
    again = synthesize(tmp_path / "again", **SMALL)
    assert contents(again) == contents(made)


def test_another_seed_gives_other_pages(made, tmp_path):
    other = synthesize(tmp_path / "other", **(SMALL | {"seed": 5}))
    assert contents(other)["images/train/train_00000.jpg"] not in contents(made).values()


def test_a_larger_set_starts_with_the_same_pages(made, tmp_path):
    larger = contents(synthesize(tmp_path / "larger", **(SMALL | {"images": 5})))
    pages = {k: v for k, v in contents(made).items() if k.endswith(".jpg")}
    assert pages.items() <= larger.items()


def test_train_and_val_differ(made):
    images = [v for k, v in contents(made).items() if k.endswith(".jpg")]
    assert len(set(images)) == 5


def test_a_finished_set_is_reused_untouched(made):
    before = {p: p.stat().st_mtime_ns for p in made.rglob("*")}
    lines = []
    assert synthesize(made, **SMALL, log=lines.append) == made
    assert {p: p.stat().st_mtime_ns for p in made.rglob("*")} == before
    assert "already holds" in lines[0]


def test_other_settings_are_refused(made):
    with pytest.raises(InputError, match=r"made with other settings .*seed is 4, asked for 9"):
        synthesize(made, **(SMALL | {"seed": 9}))


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty and not a set of synthetic receipts"):
        synthesize(tmp_path, **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_as_root_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(InputError, match="is a file; name a folder"):
        synthesize(path, **SMALL)


def test_an_empty_folder_is_filled(tmp_path):
    root = tmp_path / "empty"
    root.mkdir()
    synthesize(root, **(SMALL | {"images": 1, "val_images": 0}))
    assert (root / "jsons" / "train.json").is_file()
    assert not (root / "jsons" / "val.json").exists()


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    root = tmp_path / "parent" / "set"
    with pytest.raises(KeyboardInterrupt):
        synthesize(root, images=10, val_images=0, seed=0, longest_side_px=256, log=interrupt)
    assert list(root.parent.iterdir()) == []


def test_all_faults_are_reported_together(tmp_path):
    with pytest.raises(InputError) as error:
        synthesize(
            tmp_path / "x",
            images=0,
            val_images=-1,
            seed=-2,
            longest_side_px=64,
            languages=("ko", "fr"),
        )
    assert str(error.value).splitlines() == [
        "images: must be at least 1, got 0",
        "val_images: must be at least 0, got -1",
        "seed: must be at least 0, got -2",
        "longest_side_px: must be from 256 to 4096, got 64",
        "languages: must be different ones of ko, en, got ko,fr",
    ]


def test_one_language_only():
    fonts = find_fonts(None, ("en",))
    for index in range(6):
        page = make_page(0, "val", index, longest_side_px=256, fonts=fonts)
        assert all(w["language"] != ["ko"] for w in page.words.values())


def test_some_pages_are_blank():
    fonts = find_fonts(None, ("ko", "en"))
    pages = [make_page(8, "train", i, longest_side_px=256, fonts=fonts) for i in range(10, 18)]
    counts = sorted(len(page.words) for page in pages)
    assert counts[:2] == [0, 0]
    assert counts[2] >= 50
    assert counts[-1] <= 150


def test_the_reader_takes_every_page(made):
    split = read_split(made, "train")
    assert [page.name for page in split.pages] == [f"train_0000{i}.jpg" for i in range(3)]
    assert split.faults == ()
    assert sum(len(page.words) for page in split.pages) > 100
