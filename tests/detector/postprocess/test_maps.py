from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detector.core.errors import InputError, JobError
from detector.postprocess.maps import (
    DATA_NAME,
    INDEX_NAME,
    PageMap,
    PageMaps,
    has_maps,
    quantize,
    writing_maps,
)

AFFINE = np.array([[0.5, 0.0, -0.25], [0.0, 0.75, -0.125]])


def page_map(name: str, height: int, width: int) -> PageMap:
    rng = np.random.default_rng([height, width])
    probability = quantize(rng.random((height, width), dtype=np.float32))
    return PageMap(name, probability, AFFINE, (2 * width, 2 * height))


def write(folder: Path, maps: Iterable[PageMap], identity: str = "") -> None:
    with writing_maps(folder, identity=identity) as writer:
        for one in maps:
            writer.add(one)


def test_maps_come_back_bit_for_bit(tmp_path: Path):
    written = [page_map("a.jpg", 5, 7), page_map("b.jpg", 1, 1), page_map("c.jpg", 64, 3)]
    write(tmp_path / "maps", written)
    maps = PageMaps(tmp_path / "maps")
    assert (len(maps), maps.names) == (3, ["a.jpg", "b.jpg", "c.jpg"])
    for before, after in zip(written, maps, strict=True):
        assert (before.name, before.size) == (after.name, after.size)
        assert after.probability.dtype == np.float32
        np.testing.assert_array_equal(before.probability, after.probability)
        np.testing.assert_array_equal(before.affine, after.affine)
    assert (tmp_path / "maps" / DATA_NAME).stat().st_size == 2 * (35 + 1 + 192)


@given(arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)))
def test_rounding_is_small_and_happens_once(probability: np.ndarray):
    rounded = quantize(probability)
    assert np.abs(rounded - probability).max() <= 0.5 / 65535 + 1e-7
    np.testing.assert_array_equal(quantize(rounded), rounded)


def test_rounding_keeps_the_ends_and_what_is_no_number():
    rounded = quantize(np.array([[0.0, 1.0, np.nan]], np.float32))
    assert rounded[0, :2].tolist() == [0.0, 1.0]
    assert np.isnan(rounded[0, 2])


def test_no_page_is_a_complete_folder(tmp_path: Path):
    write(tmp_path, [])
    assert len(PageMaps(tmp_path)) == 0


def test_a_full_disk_is_told_once_and_leaves_nothing_behind(tmp_path: Path, file_limit):
    maps = [page_map(f"{index}.jpg", 200, 200) for index in range(3)]
    with file_limit(100_000), writing_maps(tmp_path) as writer:
        for one in maps:
            writer.add(one)
    message = r"cannot be kept: .* after 0 MiB; free some space or use another folder"
    assert isinstance(writer.failure, JobError)
    assert re.search(message, str(writer.failure))
    assert not has_maps(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_failure_too(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with writing_maps(tmp_path / "file" / "maps") as writer:
        writer.add(page_map("a.jpg", 4, 4))
    assert "Not a directory after 0 MiB" in str(writer.failure)


def test_an_interrupted_writer_leaves_no_maps_to_mistake_for_complete_ones(tmp_path: Path):
    def stopped():
        yield page_map("a.jpg", 4, 4)
        raise KeyboardInterrupt

    write(tmp_path, [page_map("a.jpg", 4, 4)])
    assert has_maps(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, stopped())
    assert not has_maps(tmp_path)


@pytest.mark.parametrize("harm", ["no index", "no data", "cut data", "broken index", "other"])
def test_maps_that_cannot_be_trusted_are_refused(tmp_path: Path, harm: str):
    write(tmp_path, [page_map("a.jpg", 4, 4)], identity="mine")
    if harm == "no index":
        (tmp_path / INDEX_NAME).unlink()
    elif harm == "no data":
        (tmp_path / DATA_NAME).unlink()
    elif harm == "cut data":
        (tmp_path / DATA_NAME).write_bytes(b"12")
    elif harm == "broken index":
        (tmp_path / INDEX_NAME).write_text('{"version": 1}')
    with pytest.raises(InputError, match=r"holds no probability maps to use"):
        PageMaps(tmp_path, identity="yours" if harm == "other" else "mine")
