"""Datasets from strangers: names, links, pipes, huge files, huge pictures, endless outlines."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detector.core.errors import InputError
from detector.data.labels.annotations import read_split, scan_split
from detector.data.page import images
from detector.data.page.images import TooLargeError, image_size, read_image
from detector.data.raw import label_file

BOX = [[10, 20], [50, 20], [50, 40], [10, 40]]
PAGE = {"words": {"1": {"points": BOX}}}


def dataset(root: Path, pages: dict[str, Any] | str) -> Path:
    """A split `train` with one image `a.png`, annotated as given."""
    (root / "images" / "train").mkdir(parents=True)
    (root / "jsons").mkdir()
    Image.new("RGB", (100, 80), "white").save(root / "images" / "train" / "a.png")
    text = pages if isinstance(pages, str) else json.dumps({"images": pages})
    (root / "jsons" / "train.json").write_text(text)
    return root


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG file that says to be so large, without pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize(
    "name",
    [
        *("../x.png", "../../x.png", "../../../x.png", "../val/x.png", "/etc/x.png", "/x.png"),
        *("..\\x.png", "C:\\x.png", "file:///x.png", "a.png\0.png", "..", ".", "/", "a.png/"),
    ],
)
def test_names_never_leave_the_folder(tmp_path: Path, name: str) -> None:
    """Names are looked up among the images of the split, and nowhere else."""
    root = dataset(tmp_path / "data", {name: PAGE, "b.png": PAGE})
    (root / "images/val").mkdir()
    for folder in (tmp_path, tmp_path / "data", root / "images", root / "images/val"):
        Image.new("RGB", (100, 80)).save(folder / "x.png")
    (root / "images/train/a.png").rename(root / "images/train/b.png")
    split = scan_split(root, "train")
    assert [page.path for page in split.pages] == [root / "images/train/b.png"]
    assert [f.kind for f in split.faults] == ["no-image"]


def test_paths_of_elsewhere_mean_the_image_of_that_name(tmp_path: Path) -> None:
    for number, name in enumerate(("../a.png", "/etc/a.png", "C:\\a.png", "~/a.png")):
        root = dataset(tmp_path / str(number), {name: PAGE})
        (page,) = read_split(root, "train").pages
        assert page.path == root / "images/train/a.png"


@pytest.mark.parametrize("name", ["/dev/stdin", "CON.png", "nul.png", "a.png\n"])
def test_names_of_devices_are_names_of_missing_files(tmp_path: Path, name: str) -> None:
    split = scan_split(dataset(tmp_path, {name: PAGE, "a.png": PAGE}), "train")
    assert [page.name for page in split.pages] == ["a.png"]
    assert [f.kind for f in split.faults] == ["no-image"]


def test_links_to_folders_and_pictures_are_followed(tmp_path: Path) -> None:
    """They are how people lay out splits; what is read is what the user may read anyway."""
    real = dataset(tmp_path / "real", {"a.png": PAGE, "b.png": PAGE})
    Image.new("RGB", (100, 80)).save(tmp_path / "elsewhere.png")
    (real / "images" / "train" / "b.png").symlink_to(tmp_path / "elsewhere.png")
    (tmp_path / "root").symlink_to(real)
    assert [p.name for p in read_split(tmp_path / "root", "train").pages] == ["a.png", "b.png"]


def test_pipes_devices_and_dangling_links_are_no_pictures(tmp_path: Path) -> None:
    root = dataset(tmp_path, {"a.png": PAGE})
    folder = root / "images" / "train"
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    split = scan_split(root, "train")
    assert [page.name for page in split.pages] == ["a.png"]
    assert split.faults == ()


def test_annotations_that_are_pipes_or_devices_are_refused(tmp_path: Path) -> None:
    root = dataset(tmp_path / "json", {})
    (root / "jsons" / "train.json").unlink()
    (root / "jsons" / "train.json").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"train\.json: must be a plain file"):
        scan_split(root, "train")
    root = dataset(tmp_path / "icdar", {})
    (root / "jsons" / "train.json").unlink()
    (root / "labels" / "train").mkdir(parents=True)
    os.mkfifo(root / "labels" / "train" / "a.txt")
    with pytest.raises(InputError, match=r"a\.txt: must be a plain file"):
        scan_split(root, "train")


def test_annotations_beyond_the_limit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert label_file.JSON_BYTES == 256 * 2**20
    monkeypatch.setattr(label_file, "JSON_BYTES", 1000)
    root = dataset(tmp_path / "json", '{"images": {"a.png": {"words": {}}}}' + " " * 1000)
    with pytest.raises(InputError, match=r"train\.json: has more than 1000 bytes"):
        scan_split(root, "train")
    (root / "jsons" / "train.json").unlink()
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels" / "train" / "a.txt").write_text("\n" * 1001)
    with pytest.raises(InputError, match=r"a\.txt: has more than 1000 bytes"):
        scan_split(root, "train")


def test_an_annotation_file_of_megabytes_is_read(tmp_path: Path) -> None:
    words = {f"{i:04d}": {"points": BOX, "transcription": "x" * 100} for i in range(40_000)}
    root = dataset(tmp_path, {"a.png": {"words": words | {"last": {"points": [[1, 2]]}}}})
    assert (root / "jsons" / "train.json").stat().st_size > 6 * 2**20
    split = scan_split(root, "train")
    assert [len(page.words) for page in split.pages] == [1]  # the same corners over and over


def nested(depth: int) -> str:
    points = "[" * depth + "1" + "]" * depth
    return f'{{"images": {{"a.png": {{"words": {{"1": {{"points": {points}}}}}}}}}}}'


@pytest.mark.parametrize("depth", [10, 100, 800])
def test_nesting_is_a_fault(tmp_path: Path, depth: int) -> None:
    split = scan_split(dataset(tmp_path, nested(depth)), "train")
    assert {f.kind for f in split.faults} == {"no-place", "no-usable-words"}
    assert all(len(f.message) < 300 for f in split.faults)


@pytest.mark.parametrize("depth", [10_000, 1_000_000])
def test_endless_nesting_is_a_clean_error(tmp_path: Path, depth: int) -> None:
    root = dataset(tmp_path, nested(depth))
    with pytest.raises(InputError, match=r"train\.json: not usable JSON: nested too deeply"):
        scan_split(root, "train")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("1e400", "non-finite"),
        ("NaN", "non-finite"),
        ("-Infinity", "non-finite"),
        ("1" * 400, "non-finite"),
        ("1e300", "huge-coordinate"),
        ("4294967296", "huge-coordinate"),
        ('"1"', "bad-points"),
        ("true", "bad-points"),
        ("null", "bad-points"),
    ],
)
def test_numbers_that_are_no_coordinates(tmp_path: Path, number: str, kind: str) -> None:
    points = f"[[10, 20], [50, 20], [50, {number}], [10, 40]]"
    good = json.dumps({"points": [[60, 20], [90, 20], [90, 40], [60, 40]]})
    words = f'{{"1": {{"points": {points}}}, "2": {good}}}'
    root = dataset(tmp_path, f'{{"images": {{"a.png": {{"words": {words}}}}}}}')
    split = scan_split(root, "train")
    assert [f.kind for f in split.faults] == [kind]
    assert [(word.id, word.ignore) for word in split.pages[0].words] == [("1", True), ("2", False)]


def test_outlines_of_thousands_of_points_are_dont_care(tmp_path: Path) -> None:
    angle = np.linspace(0, 2 * np.pi, 1002)[:-1]
    circle = np.stack([50 + 30 * np.cos(angle), 40 + 30 * np.sin(angle)], axis=1)
    words = {"1": {"points": circle.tolist()}, "2": {"points": circle[:-1].tolist()}}
    split = scan_split(dataset(tmp_path, {"a.png": {"words": words}}), "train")
    assert [(f.word, f.kind) for f in split.faults] == [("1", "many-points")]
    words = split.pages[0].words
    assert [(len(word.points), word.ignore) for word in words] == [(501, True), (1000, False)]


def test_a_tangle_is_not_repaired_point_by_point(tmp_path: Path) -> None:
    """Repairing 1,000 points that all cross would take hours; the hull is the same either way."""
    tangle = np.random.default_rng(0).uniform(0, 80, (1000, 2)).tolist()
    split = scan_split(dataset(tmp_path, {"a.png": {"words": {"1": {"points": tangle}}}}), "train")
    assert [f.kind for f in split.faults] == ["tangled"]
    assert split.pages[0].words[0].ignore


@pytest.mark.parametrize(
    ("width", "height"), [(30_000, 30_000), (2**31 - 1, 1), (2**16, 2**15), (40_000, 10)]
)
@pytest.mark.parametrize("lifted", [False, True])
def test_gigantic_pictures_are_refused_by_their_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, height: int, lifted: bool
) -> None:
    if lifted:  # as some libraries do for the whole process
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = png_header(tmp_path / "a.png", width, height)
    for read in (image_size, read_image):
        with pytest.raises(TooLargeError, match=r"a\.png: .*make the image smaller"):
            read(path)


def test_a_picture_that_says_2_to_the_31_pixels_a_side_is_refused(tmp_path: Path) -> None:
    for side in (2**31, 2**32 - 1):
        path = png_header(tmp_path / "a.png", side, side)
        with pytest.raises(InputError, match=r"a\.png: "):
            image_size(path)


def test_a_real_bomb_is_never_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pixels are there, packed to a thousandth: only the header must be looked at."""
    monkeypatch.setattr(images, "MAX_PIXELS", 999_999)
    path = tmp_path / "a.png"
    Image.new("L", (1000, 1000)).save(path)
    assert path.stat().st_size < 5_000
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(TooLargeError, match="1000 x 1000 pixels, but a page has at most 999999"):
        read_image(path)


def test_a_compressed_text_in_a_png_cannot_fill_the_memory(tmp_path: Path) -> None:
    path = png_header(tmp_path / "a.png", 10, 10)
    content = path.read_bytes()
    data = b"Comment\0\0" + zlib.compress(b"x" * 50_000_000)
    crc = struct.pack(">I", zlib.crc32(b"zTXt" + data))
    text = struct.pack(">I", len(data)) + b"zTXt" + data + crc
    path.write_bytes(content[:33] + text + content[33:])
    with pytest.raises(InputError, match=r"a\.png: broken or truncated image"):
        read_image(path)
