from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detector.core.errors import InputError
from detector.data.labels.annotations import (
    list_splits,
    read_image,
    read_split,
    require_words,
    scan_split,
)
from detector.data.labels.pages import LabelRules
from detector.data.labels.trained import apart

BOX = [[10, 20], [50, 20], [50, 40], [10, 40]]
LOWER = [[10, 50], [50, 50], [50, 70], [10, 70]]
WORDS = {"0001": {"points": BOX, "transcription": "A"}}
PAGE = {"img_w": 100, "img_h": 80, "words": WORDS}
Make = Callable[..., Path]


def write(root: Path, images: dict[str, Any], files: tuple[str, ...] | None = None) -> Path:
    """A split `train` annotated as `images`, with 100 x 80 images of the names in `files`."""
    folder = root / "images" / "train"
    folder.mkdir(parents=True)
    (root / "jsons").mkdir()
    for name in images if files is None else files:
        kind = "PNG" if name.lower().endswith("png") else "JPEG"
        Image.new("RGB", (100, 80), "white").save(folder / name, kind)
    (root / "jsons" / "train.json").write_text(json.dumps({"images": images}), encoding="utf-8")
    return root


def kinds(root: Path, **options: Any) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of usable pages, and (file, kind) of the faults."""
    split = scan_split(root, "train", **options)
    return [p.name for p in split.pages], [(f.file, f.kind) for f in split.faults]


class TestPages:
    def test_generated_dataset_reads_without_fault(
        self, tmp_path: Path, make_dataset: Make
    ) -> None:
        split = read_split(make_dataset(tmp_path, pages=3, words=5), "train")
        assert split.faults == ()
        assert [p.name for p in split.pages] == [f"train_{i:03d}.jpg" for i in range(3)]
        page = split.pages[0]
        assert (page.width, page.height, len(page.words)) == (160, 128, 5)
        image = read_image(page.path)
        for word in page.words:
            x, y = word.points.mean(axis=0).astype(int)
            assert image[y, x].max() < 100  # the annotation lies on the ink
        assert image[0, 0].min() > 200

    def test_a_part_of_a_split_is_read_as_a_split(self, tmp_path: Path, make_dataset: Make) -> None:
        root = make_dataset(tmp_path, pages=7)
        parts = [read_split(root, f"train@{i}/3") for i in (1, 2, 3)]
        pages = [page.name for part in parts for page in part.pages]
        assert pages == [f"train_{i:03d}.jpg" for i in range(7)]
        assert [part.name for part in parts] == ["train@1/3", "train@2/3", "train@3/3"]
        assert len(read_split(root, "training@3/3", limit=1).pages) == 1  # by another word for it
        half = read_split(root, "train@1/3@2/2")  # a part has parts
        assert [p.name for p in half.pages] == ["train_002.jpg"]
        rest, told = apart(read_split(root, "train"), parts[1])
        assert [p.name for p in rest.pages] == [p.name for i in (0, 2) for p in parts[i].pages]
        assert told == "2 of 7 pages are for validation, and not trained on"
        with pytest.raises(InputError, match="no split 'test'; splits that exist: train"):
            read_split(root, "test@1/3")
        with pytest.raises(InputError, match="'train@1/8': 7 usable pages make no 8 parts"):
            read_split(root, "train@1/8")

    def test_pages_are_sorted_and_suffixes_count_in_any_case(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"c.JPG": PAGE, "a.Png": PAGE, "b.jpeg": PAGE})
        assert kinds(root) == (["a.Png", "b.jpeg", "c.JPG"], [])

    def test_page_without_words_is_kept_and_unlabelled_is_not(self, tmp_path: Path) -> None:
        blank = {"img_w": 100, "img_h": 80, "words": {}}
        absent = {"img_w": 100, "img_h": 80}
        root = write(tmp_path, {"a.jpg": blank, "b.jpg": absent, "c.jpg": absent | {"words": None}})
        names, faults = kinds(root)
        assert names == ["a.jpg"]
        assert faults == [("b.jpg", "unlabelled"), ("c.jpg", "unlabelled")]
        assert kinds(root, labelled=False) == (["a.jpg", "b.jpg", "c.jpg"], [])

    def test_page_with_only_unusable_words_is_not_a_page_without_text(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"a.jpg": {"words": {"1": {"points": BOX[:1]}}}, "b.jpg": PAGE})
        assert kinds(root) == (["b.jpg"], [("a.jpg", "no-usable-words"), ("a.jpg", "no-place")])

    def test_all_dont_care_page_is_kept(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"a.jpg": {"words": {"1": {"points": BOX, "ignore": True}}}})
        (page,) = read_split(root, "train").pages
        assert [w.ignore for w in page.words] == [True]

    def test_faults_name_file_word_and_outcome(self, tmp_path: Path) -> None:
        words = WORDS | {"0002": {"points": [[1, 1], [2, 1], [2, 2]]}}
        (fault,) = read_split(write(tmp_path, {"a.jpg": {"words": words}}), "train").faults
        assert (fault.file, fault.word, fault.kind) == ("a.jpg", "0002", "few-points")
        assert fault.message == (
            "an outline needs at least 4 points, got 3; the hull of its points is used; "
            "word kept as don't-care"
        )

    @pytest.mark.parametrize(("raw", "kind"), [([], "bad-page"), ({"words": []}, "bad-words")])
    def test_page_of_wrong_shape(self, tmp_path: Path, raw: Any, kind: str) -> None:
        assert kinds(write(tmp_path, {"a.jpg": raw, "b.jpg": PAGE})) == (
            ["b.jpg"],
            [("a.jpg", kind)],
        )

    def test_broken_images_are_excluded_by_their_header(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"a.jpg": PAGE, "b.jpg": PAGE, "c.jpg": PAGE}, ("c.jpg",))
        (root / "images/train/a.jpg").write_bytes(b"")
        (root / "images/train/b.jpg").write_bytes(b"not an image")
        assert kinds(root) == (["c.jpg"], [("a.jpg", "broken-image"), ("b.jpg", "broken-image")])

    def test_too_large_image_is_excluded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = write(tmp_path, {"a.jpg": PAGE})
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7999)
        split = scan_split(root, "train")
        assert [f.kind for f in split.faults] == ["too-large"]
        assert "more than 7999 pixels, Pillow's limit" in split.faults[0].message

    @pytest.mark.parametrize(
        ("size", "kind", "text"),
        [
            ((100, 81), "size-mismatch", "annotated as 100 x 81, the image is 100 x 80"),
            ((80, 100), "size-mismatch", "were they drawn before it was turned?"),
            (("100", 80), "bad-size", "must be numbers, got '100' and 80"),
        ],
    )
    def test_annotated_size(self, tmp_path: Path, size: Any, kind: str, text: str) -> None:
        root = write(tmp_path, {"a.jpg": {"img_w": size[0], "img_h": size[1], "words": WORDS}})
        split = read_split(root, "train")
        assert len(split.pages) == 1
        assert [f.kind for f in split.faults] == [kind]
        assert text in split.faults[0].message

    def test_points_are_checked_against_the_page_as_displayed(self, tmp_path: Path) -> None:
        tall = {"words": {"1": {"points": [[10, 85], [70, 85], [70, 99], [10, 99]]}}}
        root = write(tmp_path, {"a.jpg": tall})
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (100, 80)).save(root / "images/train/a.jpg", exif=exif)
        split = read_split(root, "train")
        assert split.faults == ()
        assert (split.pages[0].width, split.pages[0].height) == (80, 100)


class TestNames:
    def test_annotation_without_image_and_image_without_annotation(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"a.jpg": PAGE, "b.jpg": PAGE}, ("a.jpg", "c.jpg"))
        assert kinds(root) == (["a.jpg"], [("b.jpg", "no-image"), ("c.jpg", "no-annotation")])
        assert kinds(root, labelled=False) == (["a.jpg", "c.jpg"], [("b.jpg", "no-image")])

    def test_suffix_in_another_case_is_found_and_reported(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"a.jpg": PAGE}, ("a.JPG",))
        split = read_split(root, "train")
        assert (split.pages[0].name, split.pages[0].path.name) == ("a.JPG", "a.JPG")
        assert [(f.file, f.kind) for f in split.faults] == [("a.JPG", "name-differs")]
        assert "the labels call it 'a.jpg'" in split.faults[0].message

    def test_the_name_as_it_is_spelled_comes_first(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"a.JPG": PAGE, "a.jpg": {"words": {}}})
        if len(list((root / "images/train").iterdir())) < 2:
            pytest.skip("the file system ignores case")
        split = read_split(root, "train")
        assert [(p.name, len(p.words)) for p in split.pages] == [("a.JPG", 1), ("a.jpg", 0)]
        assert split.faults == ()

    def test_ambiguous_suffix_is_not_guessed(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"a.jpg": PAGE, "b.jpg": PAGE}, ("a.JPG", "a.Jpg", "b.jpg"))
        if len(list((root / "images/train").iterdir())) < 3:
            pytest.skip("the file system ignores case")
        assert kinds(root) == (["b.jpg"], [("a.JPG", "shared-label"), ("a.Jpg", "shared-label")])
        message = scan_split(root, "train").faults[0].message
        assert "a.jpg in jsons/train.json may mean a.JPG, a.Jpg; say which" in message

    def test_decomposed_hangul_is_found(self, tmp_path: Path) -> None:
        name = "영수증.jpg"
        root = write(tmp_path, {name: PAGE}, (unicodedata.normalize("NFD", name),))
        assert kinds(root)[0] == [name]

    @pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a\\x.jpg", "sub/x.jpg", ".."])
    def test_no_image_outside_of_the_split_is_read(self, tmp_path: Path, name: str) -> None:
        root = write(tmp_path / "data", {"a.jpg": PAGE, name: PAGE}, ("a.jpg",))
        Image.new("RGB", (100, 80)).save(root / "images" / "x.jpg")
        Image.new("RGB", (100, 80)).save(tmp_path / "x.jpg")
        assert kinds(root) == (["a.jpg"], [(name.replace("\\", "/"), "no-image")])

    @pytest.mark.parametrize(
        "name", ["x.jpg", "sub/x.jpg", "sub\\x.jpg", "../images/train/sub/x.jpg", "/old/sub/x.jpg"]
    )
    def test_paths_mean_images_below_the_folder(self, tmp_path: Path, name: str) -> None:
        """The name alone, a path from the folder of either, and one of another machine."""
        root = write(tmp_path, {name: PAGE}, ())
        (root / "images/train/sub").mkdir()
        Image.new("RGB", (100, 80)).save(root / "images/train/sub/x.jpg")
        assert kinds(root) == (["sub/x.jpg"], [])

    def test_a_page_without_a_name_is_told_by_its_file(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"a.jpg": PAGE, "": PAGE}, ("a.jpg",))
        assert kinds(root) == (["a.jpg"], [("jsons/train.json", "no-image")])

    def test_other_suffixes_are_named(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"a.jpg": PAGE, "b.svg": PAGE}, ("a.jpg",))
        (fault,) = read_split(root, "train").faults
        assert (fault.file, fault.kind) == ("b.svg", "no-image")
        assert "train.json names no image file of the dataset; " in fault.message
        assert "the suffix must be one of .jpg, .jpeg, .png, .webp, .bmp, " in fault.message


class TestJson:
    def broken(self, root: Path, content: str | bytes) -> Path:
        write(root, {"a.jpg": PAGE})
        data = content if isinstance(content, bytes) else content.encode()
        (root / "jsons/train.json").write_bytes(data)
        return root

    def test_truncated(self, tmp_path: Path) -> None:
        root = self.broken(tmp_path, '{"images": {\n  "a.jpg": {"img_w": 100,')
        with pytest.raises(InputError, match=r"train\.json: not valid JSON at line 2, column \d+"):
            read_split(root, "train")
        with pytest.raises(InputError, match="cut short: copy it again"):
            read_split(root, "train")

    def test_every_truncation_is_one_message(self, tmp_path: Path) -> None:
        text = json.dumps({"images": {"a.jpg": PAGE}})
        root = self.broken(tmp_path, "")
        for end in range(len(text)):
            (root / "jsons/train.json").write_text(text[:end])
            with pytest.raises(InputError, match=r"train\.json: not valid JSON at line 1, column"):
                read_split(root, "train")

    def test_mistake_inside(self, tmp_path: Path) -> None:
        root = self.broken(tmp_path, '{"images": {"a.jpg": {"img_w": 100 "img_h": 80}}}')
        with pytest.raises(InputError, match=r"line 1, column 36: .*; correct it there"):
            read_split(root, "train")

    @pytest.mark.parametrize(
        ("text", "got"),
        [
            ("[]", r"holding \[\]"),
            ("3", "holding 3"),
            ('{"b": {}, "a": 1}', "with the keys 'a', 'b'"),
            ('{"image": {}}', "with the keys 'image'"),
            ('{"images": []}', "with the keys 'images'"),
        ],
    )
    def test_wrong_top_level(self, tmp_path: Path, text: str, got: str) -> None:
        said = rf"no labels in a format that is known \(jsons/train\.json {got}\); .* native"
        with pytest.raises(InputError, match=said):
            read_split(self.broken(tmp_path, text), "train")

    def test_korean_that_is_not_utf8(self, tmp_path: Path) -> None:
        page = {"words": {"1": {"points": BOX, "transcription": "합계"}}}
        text = json.dumps({"images": {"a.jpg": page}}, ensure_ascii=False)
        root = self.broken(tmp_path, text.encode("cp949"))
        assert read_split(root, "train").pages[0].words[0].text == "합계"

    def test_endless_nesting_and_numbers(self, tmp_path: Path) -> None:
        for text in ("[" * 200_000, '{"images": ' + "9" * 10_000 + "}"):
            root = self.broken(tmp_path / str(len(text)), text)
            with pytest.raises(InputError, match=r"train\.json: not usable JSON"):
                read_split(root, "train")

    def test_byte_order_mark(self, tmp_path: Path) -> None:
        text = "\ufeff" + json.dumps({"images": {"a.jpg": PAGE}})
        assert len(read_split(self.broken(tmp_path, text), "train").pages) == 1

    def test_repeated_names_are_reported(self, tmp_path: Path) -> None:
        word = json.dumps(WORDS["0001"])
        page = f'{{"words": {{"1": {{}}, "1": {word}}}}}'
        root = self.broken(tmp_path, f'{{"images": {{"a.jpg": {{}}, "a.jpg": {page}}}}}')
        split = read_split(root, "train")
        assert [(f.word, f.kind) for f in split.faults] == [
            (None, "repeated-page"),
            ("1", "repeated-id"),
        ]
        assert len(split.pages[0].words) == 1


class TestUnusable:
    def test_missing_root_and_images(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"nowhere: no such dataset folder; set data\.root"):
            read_split(tmp_path / "nowhere", "train")
        with pytest.raises(
            InputError, match=r"holds no image \(\.jpg, .*\), nor folders such as images/train"
        ):
            read_split(tmp_path, "train")

    @pytest.mark.parametrize("split", ["test", "", ".", "../train", "train/../train"])
    def test_missing_split_lists_those_that_exist(
        self, tmp_path: Path, make_dataset: Make, split: str
    ) -> None:
        make_dataset(make_dataset(tmp_path, pages=1), split="val", pages=1)
        with pytest.raises(InputError, match=r"has no split .*; splits that exist: train, val"):
            read_split(tmp_path, split)

    def test_missing_annotations_list_those_that_exist(
        self, tmp_path: Path, make_dataset: Make
    ) -> None:
        root = make_dataset(make_dataset(tmp_path, pages=1), split="val", pages=1)
        (root / "jsons/val.json").unlink()
        with pytest.raises(
            InputError, match=r"no annotations .* jsons/val\.json .* splits: train$"
        ):
            read_split(root, "val")
        assert len(read_split(root, "val", labelled=False).pages) == 1

    def test_no_usable_page_counts_why(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"a.jpg": {}, "b.jpg": {}, "c.jpg": PAGE}, ("a.jpg", "b.jpg"))
        with pytest.raises(
            InputError, match=r"no usable page in split 'train' \(2 unlabelled, 1 no-image\)"
        ):
            read_split(root, "train")

    def test_empty_split(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"\(no image in the folder\)"):
            read_split(write(tmp_path, {}), "train")

    def test_two_kinds_of_annotation(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"a.jpg": PAGE})
        (root / "labels/train").mkdir(parents=True)
        assert kinds(root) == (["a.jpg"], [])
        (root / "labels/train/a.txt").write_text("10,20,50,20,50,40,10,40,A\n")
        said = (
            r"several formats \(1 files of native, 1 files of icdar2015\); say which count, as in "
            r"data\.format=icdar2015"
        )
        with pytest.raises(InputError, match=said):
            read_split(root, "train")
        names, faults = kinds(root, rules=LabelRules(format="native"))
        assert (names, faults) == (["a.jpg"], [("labels/train/a.txt", "not-understood")])


class TestLimit:
    @pytest.mark.parametrize(
        ("limit", "expected"),
        [(1, [0]), (2, [0, 5]), (4, [0, 2, 5, 7]), (10, [*range(10)]), (99, [*range(10)])],
    )
    def test_evenly_spaced(
        self, tmp_path: Path, make_dataset: Make, limit: int, expected: list[int]
    ) -> None:
        root = make_dataset(tmp_path, pages=10, width=32, height=32, words=1)
        pages = read_split(root, "train", limit=limit).pages
        assert [p.name for p in pages] == [f"train_{i:03d}.jpg" for i in expected]

    def test_below_one(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="limit: must be at least 1 page, got 0"):
            read_split(tmp_path, "train", limit=0)


def test_list_splits(tmp_path: Path, make_dataset: Make) -> None:
    make_dataset(make_dataset(tmp_path, split="val", pages=1), split="test", pages=1)
    assert list_splits(tmp_path) == ["test", "val"]


def test_make_dataset_is_deterministic(tmp_path: Path, make_dataset: Make) -> None:
    first = read_split(make_dataset(tmp_path / "a", seed=3), "train").pages[1]
    again = read_split(make_dataset(tmp_path / "b", seed=3), "train").pages[1]
    other = read_split(make_dataset(tmp_path / "c", seed=4), "train").pages[1]
    np.testing.assert_array_equal(read_image(first.path), read_image(again.path))
    assert not np.array_equal(read_image(first.path), read_image(other.path))


SHARES = [[0.1, 0.2], [0.5, 0.2], [0.5, 0.4], [0.1, 0.4]]


class TestShares:
    @pytest.mark.parametrize("points", [SHARES, [[0, 0], [1, 0], [1, 0.05], [0, 0.05]]])
    def test_points_as_shares_of_the_page_are_refused(self, tmp_path: Path, points: Any) -> None:
        page = {"words": {"1": {"points": points}, "2": {"points": SHARES}, "3": None}}
        root = write(tmp_path, {"a.jpg": page, "b.jpg": {"words": {}}})
        said = r"split 'train': all points .* between 0 and 1, .* multiply x by the width"
        with pytest.raises(InputError, match=said):
            scan_split(root, "train")

    def test_one_point_in_pixels_is_enough(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"a.jpg": {"words": {"1": {"points": SHARES}}}, "b.jpg": PAGE})
        assert [page.name for page in scan_split(root, "train").pages] == ["a.jpg", "b.jpg"]

    def test_whole_numbers_are_pixels(self, tmp_path: Path) -> None:
        pixel = [[0, 0], [1, 0], [1, 1], [0, 1]]
        root = write(tmp_path, {"a.jpg": {"words": {"1": {"points": pixel}}}})
        assert len(scan_split(root, "train").pages[0].words) == 1


class TestWordsThatCount:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ({}, "has no word on any page"),
            ({"1": {"points": BOX, "transcription": "###"}}, "all of its 1 words are don't-care"),
            (
                {"1": {"points": BOX, "ignore": True}, "2": {"points": LOWER, "ignore": True}},
                "all of its 2 words are don't-care",
            ),
        ],
    )
    def test_a_split_without_any_is_refused(
        self, tmp_path: Path, words: dict[str, Any], said: str
    ) -> None:
        root = write(tmp_path, {"a.png": {**PAGE, "words": words}})
        with pytest.raises(InputError, match=f"split 'train'.*{said}"):
            require_words(read_split(root, "train"), root)

    def test_one_is_enough(self, tmp_path: Path) -> None:
        one = {**PAGE, "words": {**WORDS, "0002": {"points": BOX, "ignore": True}}}
        root = write(tmp_path, {"a.png": one, "b.png": {**PAGE, "words": {}}})
        require_words(read_split(root, "train"), root)
