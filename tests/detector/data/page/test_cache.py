from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
from pdfs import scanned
from PIL import Image

from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.core.geometry import transform_points
from detector.data.page.cache import PageCache
from detector.data.page.images import list_images, read_image
from detector.training.trainer import train

LARGE = 10**9


def draw(path: Path, width: int = 120, height: int = 90, seed: int = 0) -> Path:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    Image.fromarray(cv2.GaussianBlur(noise, (0, 0), 2)).save(path)
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


def test_a_small_page_is_kept_bit_for_bit(page: Path, folder: Path) -> None:
    expected = read_image(page)
    for _ in range(2):
        image, affine, _ = PageCache(folder, LARGE).read(page, 120)
        np.testing.assert_array_equal(image, expected)
        assert affine is None
    assert len(entries(folder)) == 1


def test_a_page_comes_from_the_cache(page: Path, folder: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    first = PageCache(folder, LARGE).read(page, 64).image
    monkeypatch.setattr("detector.data.page.cache.read_image", lambda _: pytest.fail("decoded"))
    again, affine, _ = PageCache(folder, LARGE).read(page, 64)
    np.testing.assert_array_equal(again, first)
    assert not again.flags.writeable
    assert affine is not None


def test_a_large_page_is_shrunk_with_its_points(tmp_path: Path, folder: Path) -> None:
    picture = np.full((90, 120, 3), 255, np.uint8)
    picture[30:60, 40:80] = 0
    Image.fromarray(picture).save(tmp_path / "square.png")
    cache = PageCache(folder, LARGE)
    for _ in range(2):
        image, affine, _ = cache.read(tmp_path / "square.png", 61)
        assert image.shape == (46, 61, 3)
        assert affine is not None
        corners = transform_points([[39.5, 29.5], [79.5, 59.5]], affine)  # edges of the square
        np.testing.assert_allclose(
            corners + 0.5, [[40 * 61 / 120, 30 * 46 / 90], [80 * 61 / 120, 60 * 46 / 90]], atol=1e-4
        )
        # The mean of a pixel's area: what is left of the square has its exact size.
        dark = (255 - image[..., 0].astype(float)).sum() / 255
        assert dark == pytest.approx(30 * 40 * (46 * 61) / (90 * 120), rel=2e-3)


def test_entries_follow_the_content_and_the_size(page: Path, folder: Path) -> None:
    PageCache(folder, LARGE).read(page, 120)
    copy = page.with_name("copy.png")
    copy.write_bytes(page.read_bytes())
    PageCache(folder, LARGE).read(copy, 120)
    assert len(entries(folder)) == 1
    PageCache(folder, LARGE).read(page, 60)
    assert len(entries(folder)) == 2
    cache = PageCache(folder, LARGE)
    old = cache.read(page, 120).image
    draw(page, seed=1)
    new = cache.read(page, 120).image
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
    PageCache(folder, LARGE).read(page, 120)
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    image, affine, _ = PageCache(folder, LARGE).read(page, 120)
    np.testing.assert_array_equal(image, read_image(page))
    assert affine is None
    assert entry.read_bytes() == whole


@pytest.mark.parametrize("text", ["", "0" * 31, "../" + "0" * 29, "\xff" * 32])
def test_a_damaged_note_of_a_digest_is_made_again(page: Path, folder: Path, text: str) -> None:
    PageCache(folder, LARGE).read(page, 120)
    (note,) = folder.glob("*.key")
    right = note.read_text()
    note.write_text(text, encoding="latin-1")
    PageCache(folder, LARGE).read(page, 120)
    assert note.read_text() == right
    assert len(entries(folder)) == 1


def test_the_longest_unused_go_first(tmp_path: Path, folder: Path) -> None:
    pages = [draw(tmp_path / f"{i}.png", 40, 30, seed=i) for i in range(5)]
    one = 40 * 30 * 3 + 36
    for i, path in enumerate(pages[:4]):
        before = set(entries(folder))
        PageCache(folder, 10 * one).read(path, 40)
        (entry,) = set(entries(folder)) - before
        age(entry, 1000 - 100 * i)
    cache = PageCache(folder, 4 * one + 10)
    cache.read(pages[0], 40)  # the oldest is in use again
    cache.read(pages[4], 40)
    sizes = sum(path.stat().st_size for path in entries(folder))
    assert sizes <= 4 * one + 10
    kept = {path.read_bytes()[36:] for path in entries(folder)}
    assert kept == {read_image(pages[i]).tobytes() for i in (0, 3, 4)}


def test_the_cache_never_grows_beyond_its_size(tmp_path: Path, folder: Path) -> None:
    one = 40 * 30 * 3 + 36
    cache = PageCache(folder, 5 * one)
    for i in range(12):
        path = draw(tmp_path / f"{i}.png", 40, 30, seed=i)
        np.testing.assert_array_equal(cache.read(path, 40)[0], read_image(path))
        assert sum(file.stat().st_size for file in entries(folder)) <= 5 * one
    assert len(entries(folder)) >= 4


def test_a_page_larger_than_the_cache_is_decoded(page: Path, folder: Path) -> None:
    np.testing.assert_array_equal(PageCache(folder, 1000).read(page, 120).image, read_image(page))
    assert not entries(folder)


def test_a_mapped_page_outlives_its_entry(page: Path, folder: Path) -> None:
    PageCache(folder, LARGE).read(page, 120)
    image = PageCache(folder, LARGE).read(page, 120).image
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
            np.testing.assert_array_equal(cache.read(path, 120)[0], read_image(path))
    assert not entries(folder)
    assert not list(folder.glob(".*.tmp"))
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"data.cache: cannot write to {folder}" in message


def test_a_folder_that_cannot_be_made(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    image = PageCache(tmp_path / "file" / "cache", LARGE).read(page, 120).image
    np.testing.assert_array_equal(image, read_image(page))
    assert "cannot write" in capsys.readouterr().err


def test_broken_images_are_reported_as_without_a_cache(page: Path, folder: Path) -> None:
    page.write_bytes(page.read_bytes()[:300])
    for path in (page, page.with_name("gone.png")):
        with pytest.raises(InputError) as plain:
            read_image(path)
        with pytest.raises(InputError) as cached:
            PageCache(folder, LARGE).read(path, 120)
        assert str(cached.value) == str(plain.value)
    assert not entries(folder)


def test_half_written_files_of_the_dead_are_removed(page: Path, folder: Path) -> None:
    folder.mkdir()
    old, new = folder / ".old.tmp", folder / ".new.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    age(old, 10_000)
    PageCache(folder, LARGE).read(page, 120)
    assert not old.exists()
    assert new.exists()


def test_a_cache_travels_to_other_processes(page: Path, folder: Path) -> None:
    cache = PageCache(folder, LARGE)
    expected = cache.read(page, 64).image
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cache)).read(page, 64)[0], expected)


def _read_all(folder: Path, pages: list[Path], limit: int) -> None:
    for _ in range(3):
        cache = PageCache(folder, limit)
        for path in pages:
            image, affine, _ = cache.read(path, 64)
            assert image.shape == (48, 64, 3)
            assert affine is not None
            size = 64, 48
            expected = cv2.resize(read_image(path), size, interpolation=cv2.INTER_AREA)
            np.testing.assert_array_equal(image, expected)


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


def test_a_training_fills_its_cache(tiny: Callable[..., TrainConfig], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    values = {"train.epochs": 1, "data.cache": folder, "data.cache_gb": 0.1}
    train(tiny(values), tmp_path / "run", log=lambda _: None)
    assert len(entries(folder)) == 4


def test_each_page_of_a_pdf_has_its_entry(tmp_path: Path, folder: Path) -> None:
    scanned(tmp_path / "a.pdf", [(40, 30), (50, 30)])
    pages = list_images(tmp_path)
    for _ in range(2):
        cache = PageCache(folder, LARGE)
        for page in pages:
            np.testing.assert_array_equal(cache.read(page, 64).image, read_image(page))
    assert len(entries(folder)) == 2
    scanned(tmp_path / "a.pdf", [(40, 30), (60, 30)])
    assert PageCache(folder, LARGE).read(pages[1], 64).image.shape == (30, 60, 3)
