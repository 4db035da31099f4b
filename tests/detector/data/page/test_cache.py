from __future__ import annotations

import os
import pickle
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pdfs import scanned
from PIL import Image

from detector.core.errors import InputError
from detector.data.page.cache import PageCache, _made_by, half_of_disk
from detector.data.page.images import list_images, read_image
from detector.data.page.prepare import Preparation
from detector.data.page.preprocess import Prepared, Preprocess

LARGE = 10**9
PREPROCESS = Preprocess(64, (0.5, 0.4, 0.3), (0.5, 0.5, 0.5))
HEADER = 84


def draw(path: Path, width: int = 120, height: int = 90, seed: int = 0) -> Path:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    Image.fromarray(cv2.GaussianBlur(noise, (0, 0), 2)).save(path)
    return path


def photographed(path: Path) -> Path:
    """A bright sheet that leans, on a dark table."""
    picture = np.full((210, 300, 3), 40, np.uint8)
    sheet = np.array([(80, 20), (230, 30), (220, 190), (60, 180)], np.int32)
    cv2.fillConvexPoly(picture, sheet, (230, 230, 225))
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return draw(tmp_path / "page.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.page"))


def age(path: Path, seconds: float) -> None:
    before = path.stat().st_mtime
    os.utime(path, (before - seconds, before - seconds))


def assert_same(one: Prepared, other: Prepared) -> None:
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.affine, other.affine)
    assert one.size == other.size
    one_flat, other_flat = (p.flattening and p.flattening.to_dict() for p in (one, other))
    assert one_flat == other_flat


PREPARED = Preparation(background="paper", contrast="clahe", flatten="spline")


@pytest.mark.parametrize("block", [None, 1, 2, 7])
@pytest.mark.parametrize(
    "changes",
    [{}, {"shortest_side_px": 80}, {"crop_margin": 0.1}, {"preparation": PREPARED}],
    ids=str,
)
def test_a_page_comes_back_to_the_bit_without_being_decoded(
    tmp_path: Path, folder: Path, changes: dict[str, Any], block: int | None, monkeypatch: Any
) -> None:
    page = photographed(tmp_path / "page.png")
    preprocess = replace(PREPROCESS, **changes)
    expected = preprocess.prepare(read_image(page), block)
    assert (expected.flattening is not None) == ("preparation" in changes)
    assert_same(PageCache(folder, LARGE).read(page, preprocess, block), expected)
    assert len(entries(folder)) == 1
    monkeypatch.setattr("detector.data.page.cache.read_image", lambda _: pytest.fail("decoded"))
    assert_same(PageCache(folder, LARGE).read(page, preprocess, block), expected)


def test_what_is_drawn_into_a_page_stays_in_its_process(page: Path, folder: Path) -> None:
    PageCache(folder, LARGE).read(page, PREPROCESS)
    PageCache(folder, LARGE).read(page, PREPROCESS).image[:] = 0
    assert_same(
        PageCache(folder, LARGE).read(page, PREPROCESS), PREPROCESS.prepare(read_image(page))
    )


def test_each_way_to_prepare_a_page_has_its_entry(page: Path, folder: Path) -> None:
    ways = [
        PREPROCESS,
        replace(PREPROCESS, longest_side_px=65),
        replace(PREPROCESS, shortest_side_px=32),
        replace(PREPROCESS, crop_margin=0.0),
        replace(PREPROCESS, preparation=Preparation(contrast="clahe")),
        replace(PREPROCESS, preparation=Preparation(contrast="equalize")),
        replace(PREPROCESS, preparation=Preparation(contrast="equalize"), mean=(0.1, 0.2, 0.3)),
    ]
    cache = PageCache(folder, LARGE)
    for number, way in enumerate(ways, 1):
        cache.read(page, way)
        assert len(entries(folder)) == number
    # In full, as for a crop; and what the network does later is no matter.
    cache.read(page, PREPROCESS, 1)
    cache.read(page, replace(PREPROCESS, mean=(0.1, 0.2, 0.3), tile_px=512))
    assert len(entries(folder)) == len(ways)
    cache.read(page, PREPROCESS, 2)
    assert len(entries(folder)) == len(ways) + 1


def test_other_code_makes_other_entries(page: Path, folder: Path, monkeypatch: Any) -> None:
    PageCache(folder, LARGE).read(page, PREPROCESS)
    monkeypatch.setattr("cv2.__version__", "0")
    _made_by.cache_clear()
    PageCache(folder, LARGE).read(page, PREPROCESS)
    _made_by.cache_clear()
    assert len(entries(folder)) == 2


def test_a_page_is_held_when_it_was_read_as_it_is(page: Path, folder: Path) -> None:
    cache, other = PageCache(folder, LARGE), replace(PREPROCESS, longest_side_px=32)
    assert not cache.holds(page, PREPROCESS)
    cache.read(page, PREPROCESS)
    assert cache.holds(page, PREPROCESS)
    assert PageCache(folder, LARGE).holds(page, PREPROCESS)
    assert not cache.holds(page, other)
    draw(page, seed=1)
    assert not cache.holds(page, PREPROCESS)
    page.unlink()
    assert not cache.holds(page, PREPROCESS)


def test_entries_follow_the_content_and_the_size(page: Path, folder: Path) -> None:
    PageCache(folder, LARGE).read(page, PREPROCESS, 1)
    copy = page.with_name("copy.png")
    copy.write_bytes(page.read_bytes())
    PageCache(folder, LARGE).read(copy, PREPROCESS, 1)
    assert len(entries(folder)) == 1
    PageCache(folder, LARGE).read(page, PREPROCESS)
    assert len(entries(folder)) == 2
    cache = PageCache(folder, LARGE)
    old = cache.read(page, PREPROCESS, 1).image
    draw(page, seed=1)
    new = cache.read(page, PREPROCESS, 1).image
    np.testing.assert_array_equal(new, read_image(page))
    assert not np.array_equal(new, old)
    assert len(entries(folder)) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
        lambda data: data[:12] + bytes([data[12] ^ 1]) + data[13:],
        lambda data: b"something" + data[9:],
    ],
)
def test_damaged_entries_are_rewritten(
    page: Path, folder: Path, damage: Callable[[bytes], bytes]
) -> None:
    PageCache(folder, LARGE).read(page, PREPROCESS, 1)
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    found = PageCache(folder, LARGE).read(page, PREPROCESS, 1)
    assert_same(found, PREPROCESS.prepare(read_image(page), 1))
    assert entry.read_bytes() == whole


@pytest.mark.parametrize("text", ["", "0" * 31, "../" + "0" * 29, "\xff" * 32])
def test_a_damaged_note_of_a_digest_is_made_again(page: Path, folder: Path, text: str) -> None:
    PageCache(folder, LARGE).read(page, PREPROCESS, 1)
    (note,) = folder.glob("*.key")
    right = note.read_text()
    note.write_text(text, encoding="latin-1")
    PageCache(folder, LARGE).read(page, PREPROCESS, 1)
    assert note.read_text() == right
    assert len(entries(folder)) == 1


def test_the_longest_unused_go_first(tmp_path: Path, folder: Path) -> None:
    pages = [draw(tmp_path / f"{i}.png", 40, 30, seed=i) for i in range(5)]
    one = 40 * 30 * 3 + HEADER
    for i, path in enumerate(pages[:4]):
        before = set(entries(folder))
        PageCache(folder, 10 * one).read(path, PREPROCESS, 1)
        (entry,) = set(entries(folder)) - before
        age(entry, 1000 - 100 * i)
    cache = PageCache(folder, 4 * one + 10)
    cache.read(pages[0], PREPROCESS, 1)  # the oldest is in use again
    cache.read(pages[4], PREPROCESS, 1)
    sizes = sum(path.stat().st_size for path in entries(folder))
    assert sizes <= 4 * one + 10
    kept = {path.read_bytes()[HEADER:] for path in entries(folder)}
    assert kept == {read_image(pages[i]).tobytes() for i in (0, 3, 4)}


def test_the_cache_never_grows_beyond_its_size(tmp_path: Path, folder: Path) -> None:
    one = 40 * 30 * 3 + HEADER
    cache = PageCache(folder, 5 * one)
    for i in range(12):
        path = draw(tmp_path / f"{i}.png", 40, 30, seed=i)
        np.testing.assert_array_equal(cache.read(path, PREPROCESS, 1).image, read_image(path))
        assert sum(file.stat().st_size for file in entries(folder)) <= 5 * one
    assert len(entries(folder)) >= 4


def test_pages_of_this_training_do_not_drive_each_other_out(tmp_path: Path, folder: Path) -> None:
    """Or a set of pages a little too large would be decoded whole in every epoch."""
    pages = [draw(tmp_path / f"{i}.png", 40, 30, seed=i) for i in range(12)]
    cache = PageCache(folder, 6 * (40 * 30 * 3 + HEADER))
    for path in pages:
        cache.read(path, PREPROCESS, 1)
    kept = entries(folder)
    assert len(kept) >= 4
    for path in pages:
        cache.read(path, PREPROCESS, 1)
    assert set(kept) <= set(entries(folder))
    for entry in kept:
        age(entry, 1000)
    time.sleep(0.02)  # times of files are kept to some milliseconds
    another = PageCache(folder, 6 * (40 * 30 * 3 + HEADER))
    for path in pages[::-1]:  # those that are there are in use from now on
        another.read(path, PREPROCESS, 1)
    assert len(set(entries(folder)) - set(kept)) >= 1


def test_a_page_larger_than_the_cache_is_decoded(page: Path, folder: Path) -> None:
    np.testing.assert_array_equal(
        PageCache(folder, 1000).read(page, PREPROCESS, 1).image, read_image(page)
    )
    assert not entries(folder)


def test_a_mapped_page_outlives_its_entry(page: Path, folder: Path) -> None:
    PageCache(folder, LARGE).read(page, PREPROCESS, 1)
    image = PageCache(folder, LARGE).read(page, PREPROCESS, 1).image
    for entry in entries(folder):
        entry.unlink()
    np.testing.assert_array_equal(image, read_image(page))


def test_a_full_disk_is_told_once(
    tmp_path: Path,
    folder: Path,
    file_limit: Callable[[int], AbstractContextManager[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    pages = [draw(tmp_path / f"{i}.png", seed=i) for i in range(3)]
    cache = PageCache(folder, LARGE)
    with file_limit(5000):
        for path in [*pages, *pages]:
            np.testing.assert_array_equal(cache.read(path, PREPROCESS, 1).image, read_image(path))
    assert not entries(folder)
    assert not list(folder.glob(".*.tmp"))
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"data.cache: cannot write to {folder}" in message


def test_a_folder_that_cannot_be_made(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    image = PageCache(tmp_path / "file" / "cache", LARGE).read(page, PREPROCESS, 1).image
    np.testing.assert_array_equal(image, read_image(page))
    assert "cannot write" in capsys.readouterr().err


def test_broken_images_are_reported_as_without_a_cache(page: Path, folder: Path) -> None:
    page.write_bytes(page.read_bytes()[:300])
    for path in (page, page.with_name("gone.png")):
        with pytest.raises(InputError) as plain:
            read_image(path)
        with pytest.raises(InputError) as cached:
            PageCache(folder, LARGE).read(path, PREPROCESS, 1)
        assert str(cached.value) == str(plain.value)
    assert not entries(folder)


def test_half_written_files_of_the_dead_are_removed(page: Path, folder: Path) -> None:
    folder.mkdir()
    old, new = folder / ".old.tmp", folder / ".new.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    age(old, 10_000)
    PageCache(folder, LARGE).read(page, PREPROCESS, 1)
    assert not old.exists()
    assert new.exists()


def test_a_cache_travels_to_other_processes(page: Path, folder: Path) -> None:
    cache = PageCache(folder, LARGE)
    expected = cache.read(page, PREPROCESS).image
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(cache)).read(page, PREPROCESS).image, expected
    )


def _read_all(folder: Path, pages: list[Path], limit: int) -> None:
    for _ in range(3):
        cache = PageCache(folder, limit)
        for path in pages:
            assert_same(cache.read(path, PREPROCESS), PREPROCESS.prepare(read_image(path)))


@pytest.mark.parametrize("limit", [LARGE, 3 * 9300])
def test_processes_that_start_together(tmp_path: Path, folder: Path, limit: int) -> None:
    """With the small limit they also remove each other's entries all the time."""
    pages = [draw(tmp_path / f"{i}.png", seed=i) for i in range(6)]
    workers = [
        get_context("fork").Process(target=_read_all, args=(folder, pages, limit)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(entries(folder)) == 6 or limit < LARGE
    assert not list(folder.glob(".*.tmp"))


def test_a_check_is_made_once_for_all_processes_of_a_cache(page: Path, folder: Path) -> None:
    """Shown by damage that comes after it, which a new cache finds."""
    cache = PageCache(folder, LARGE)
    whole = cache.read(page, PREPROCESS).image.copy()
    (entry,) = entries(folder)
    content = bytearray(entry.read_bytes())
    content[-1] ^= 1
    entry.write_bytes(content)
    saved = folder / "seen.npy"
    process = get_context("fork").Process(target=_save, args=(cache, page, saved))
    process.start()
    process.join()
    assert (np.load(saved) != whole).sum() == 1
    np.testing.assert_array_equal(PageCache(folder, LARGE).read(page, PREPROCESS).image, whole)


def _save(cache: PageCache, page: Path, target: Path) -> None:
    np.save(target, cache.read(page, PREPROCESS).image)


def test_half_of_a_disk_counts_the_entries_as_free(folder: Path) -> None:
    folder.mkdir()
    free = shutil.disk_usage(folder).free
    assert half_of_disk(folder) == pytest.approx(free / 2, rel=0.01)
    with (folder / "a.page").open("wb") as file:
        file.truncate(10 * free)  # takes no room: all of it is a hole
    assert half_of_disk(folder) == pytest.approx(11 * free / 2, rel=0.01)


def test_each_page_of_a_pdf_has_its_entry(tmp_path: Path, folder: Path) -> None:
    scanned(tmp_path / "a.pdf", [(40, 30), (50, 30)])
    pages = list_images(tmp_path)
    for _ in range(2):
        cache = PageCache(folder, LARGE)
        for page in pages:
            np.testing.assert_array_equal(cache.read(page, PREPROCESS, 1).image, read_image(page))
    assert len(entries(folder)) == 2
    scanned(tmp_path / "a.pdf", [(40, 30), (60, 30)])
    assert PageCache(folder, LARGE).read(pages[1], PREPROCESS, 1).image.shape == (30, 60, 3)
