from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.data.labels.annotations import read_split
from detector.inference.detector import load_detector
from detector.inference.evaluation import page_maps


def test_pages_of_one_shape_go_through_the_network_together(
    trained: Path, make_dataset, tmp_path: Path
):
    """Two shapes in turns and a broken page: each map as of the page alone, with its index."""
    wide = read_split(make_dataset(tmp_path / "wide", split="val", pages=3, width=320), "val").pages
    tall = read_split(
        make_dataset(tmp_path / "tall", split="val", pages=3, width=128, height=320), "val"
    ).pages
    pages = [page for pair in zip(wide, tall, strict=True) for page in pair]
    pages[2].path.write_bytes(b"torn")
    detector, _ = load_detector(trained, device="cpu")
    seen: list[tuple[int, ...]] = []

    def note(images: np.ndarray) -> np.ndarray:
        seen.append(tuple(images.shape))
        return type(detector)._at_once(detector, images)

    together = replace(detector)
    object.__setattr__(together, "_at_once", note)
    skipped: list[str] = []
    found = dict(page_maps(together, pages, skip=skipped.append, at_once=2))
    assert sorted(found) == [0, 1, 3, 4, 5]
    assert len(skipped) == 1
    assert pages[2].name in skipped[0]
    # The tall ones, which are narrower, by two; of the wide ones the second is torn.
    assert [shape[0] for shape in seen] == [2, 1, 1, 1]
    for index, page_map in page_maps(detector, pages, skip=lambda _: None):
        alone = found[index]
        assert (alone.name, alone.size) == (page_map.name, page_map.size)
        np.testing.assert_array_equal(alone.affine, page_map.affine)
        np.testing.assert_allclose(alone.probability, page_map.probability, atol=1e-4)


@pytest.mark.parametrize(("width", "height"), [(160, 128), (31, 900), (1, 1)])
def test_the_shape_that_the_network_sees_is_known_from_the_size(
    trained: Path, width: int, height: int
):
    preprocess = load_detector(trained, device="cpu")[0].preprocess
    tensor, _ = preprocess(np.zeros((height, width, 3), np.uint8))
    assert preprocess.padded(width, height) == (tensor.shape[2], tensor.shape[1])
