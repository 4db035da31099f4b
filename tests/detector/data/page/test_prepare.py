from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from detector.core.errors import InputError
from detector.data.page.colour import equalize, equalize_locally
from detector.data.page.prepare import UNCHANGED, Preparation

FILL = (10, 20, 30)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 160, (48, 64, 3), dtype=np.uint8)


def test_the_default_gives_the_image_itself(image):
    prepared, flattening = UNCHANGED(image, FILL)
    assert prepared is image
    assert flattening is None
    assert UNCHANGED.identity == ""
    assert Preparation(background_model="other", masks=Path("x")).identity == ""


@pytest.mark.parametrize(("name", "change"), [("clahe", equalize_locally), ("equalize", equalize)])
def test_contrast(image, name, change):
    prepared, _ = Preparation(contrast=name)(image, FILL)
    np.testing.assert_array_equal(prepared, change(image))


def test_what_differs_has_another_identity(tmp_path: Path):
    one, other = tmp_path / "one.onnx", tmp_path / "other.onnx"
    one.write_bytes(b"weights")
    other.write_bytes(b"of another")
    made = [
        Preparation(contrast="clahe"),
        Preparation(contrast="equalize"),
        Preparation(flatten="spline"),
        Preparation(background="paper"),
        Preparation(background="rembg", background_model=str(one)),
        Preparation(background="rembg", background_model=str(other)),
    ]
    assert len({p.identity for p in made}) == len(made)
    assert Preparation(contrast="clahe", masks=Path("a")).identity == made[0].identity
    before = made[-1].identity
    other.write_bytes(b"of a third")  # the model goes by its content
    assert made[-1].identity != before


def test_plain_values_and_back():
    made = Preparation(background="paper", contrast="clahe", flatten="perspective")
    assert Preparation.from_dict(made.to_dict()) == made
    assert Preparation.from_dict({}) == UNCHANGED
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"contrast": "more"},
            r"preprocess.contrast: must be none \| clahe \| equalize, got 'more'",
        ),
        ({"flatten": True}, "preprocess.flatten: must be none"),
        ({"background": "u2net"}, r"preprocess.background: must be none \| paper \| rembg"),
        ({"colour": "red"}, "preprocess.preparation: takes the keys background, .* got"),
        ("clahe", "preprocess.preparation: takes the keys .* got 'clahe'"),
    ],
)
def test_what_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        Preparation.from_dict(values)
