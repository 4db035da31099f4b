from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from torch.utils.data import DataLoader

from detector.core.errors import InputError
from detector.data.page.background import BackgroundRemover, find_paper
from detector.data.page.images import read_image
from detector.data.page.salience import MODELS, find_model

FILL = (250, 0, 250)
PAPER = BackgroundRemover("paper")
HAS_REMBG = importlib.util.find_spec("rembg") is not None


def photo(left: int = 60, top: int = 80, right: int = 340, bottom: int = 420) -> np.ndarray:
    """A printed bright sheet, of these sides, on a dark table of 400 x 500."""
    image = np.full((500, 400, 3), (60, 50, 40), np.uint8)
    image[top:bottom, left:right] = (235, 232, 225)
    for y in range(top + 12, bottom - 12, 20):
        image[y : y + 6, left + 12 : right - 12 : 2] = 30
    return image


def near(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Within 2 % of 500 px, and a pixel of resizing, of the sheet."""
    mask = np.zeros((500, 400), bool)
    mask[max(0, top - 11) : bottom + 11, max(0, left - 11) : right + 11] = True
    return mask


def test_the_sheet_with_its_print_stays_and_the_table_goes():
    image = photo()
    before = image.copy()
    blanked = PAPER(image, FILL)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(blanked[80:420, 60:340], image[80:420, 60:340])
    assert (blanked[~near(60, 80, 340, 420)] == FILL).all()
    mask = PAPER.mask(image)
    assert mask.dtype == bool
    np.testing.assert_array_equal(blanked[mask], image[mask])
    assert (blanked[~mask] == FILL).all()


def test_a_large_page_is_measured_on_a_small_copy():
    large = cv2.resize(photo(), (1600, 2000), interpolation=cv2.INTER_NEAREST)
    mask = PAPER.mask(large)
    assert mask.shape == (2000, 1600)
    assert mask[320:1680, 240:1360].all()
    assert not mask[:250].any()
    assert not mask[:, 1440:].any()


@examples(40)
@given(
    left=st.integers(0, 150),
    top=st.integers(0, 200),
    right=st.integers(280, 400),
    bottom=st.integers(350, 500),
)
def test_no_pixel_of_a_sheet_is_ever_lost(left: int, top: int, right: int, bottom: int):
    mask = PAPER.mask(photo(left, top, right, bottom))
    assert mask[top:bottom, left:right].all()
    assert mask.all() or not mask[~near(left, top, right, bottom)].any()


def shadowed() -> np.ndarray:
    image = photo()
    image[:250] = image[:250] // 2
    return image


def folded() -> np.ndarray:
    image = photo()
    image[80:300, 200:340] = (60, 50, 40)
    return image


def faded() -> np.ndarray:
    level = np.interp(np.arange(500), [200, 300], [225, 60])
    return np.broadcast_to(level[:, None, None], (500, 400, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        np.full((50, 40, 3), 255, np.uint8),
        np.zeros((50, 40, 3), np.uint8),
        np.full((1, 1, 3), 9, np.uint8),
        np.full((1, 900, 3), 90, np.uint8),
        np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8),
        np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8),
        photo(100, 100, 240, 300),  # 14 % of the page
        shadowed(),
        folded(),
        faded(),
        photo(0, 0, 400, 500),
    ],
    ids=["white", "black", "pixel", "row", "two", "noise", "small", "shadow", "L", "fade", "scan"],
)
def test_what_is_no_clear_sheet_is_kept_whole(image: np.ndarray):
    assert PAPER.mask(image).all()
    np.testing.assert_array_equal(PAPER(image, FILL), image)


def test_a_colourful_table_as_bright_as_paper_is_no_paper():
    image = photo()
    image[(image == (60, 50, 40)).all(axis=2)] = (255, 255, 0)
    assert not PAPER.mask(image)[~near(60, 80, 340, 420)].any()


def test_find_paper_gives_the_sheet_itself():
    sheet = find_paper(photo())
    assert sheet.sum() == pytest.approx(280 * 340, rel=0.02)


def test_transparency_is_read_as_white_and_kept(tmp_path: Path):
    rgba = np.dstack([photo(), np.zeros((500, 400), np.uint8)])
    Pillow.fromarray(rgba).save(tmp_path / "clear.png")
    assert PAPER.mask(read_image(tmp_path / "clear.png")).all()


def test_masks_are_kept_by_content_and_damaged_ones_found_anew(tmp_path: Path):
    remover = BackgroundRemover("paper", cache=tmp_path / "masks")
    expected = PAPER.mask(photo())
    np.testing.assert_array_equal(remover.mask(photo()), expected)
    (file,) = (tmp_path / "masks").iterdir()
    whole = file.read_bytes()
    assert len(whole) < 1000
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 40):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        np.testing.assert_array_equal(remover.mask(photo()), expected)
        file.write_bytes(whole[:at])
        np.testing.assert_array_equal(remover.mask(photo()), expected)
        assert file.read_bytes() == whole
    remover.mask(photo(50))
    assert len(list((tmp_path / "masks").iterdir())) == 2


def test_a_kept_mask_is_used(tmp_path: Path):
    remover = BackgroundRemover("paper", cache=tmp_path)
    remover.mask(photo())
    (file,) = tmp_path.iterdir()
    Pillow.fromarray(np.zeros((500, 400), bool)).save(file)
    assert not remover.mask(photo()).any()
    Pillow.fromarray(np.zeros((400, 500), bool)).save(file)  # of another size
    np.testing.assert_array_equal(remover.mask(photo()), PAPER.mask(photo()))


def test_masks_that_cannot_be_written_are_said_once(tmp_path: Path, capsys):
    (tmp_path / "file").touch()
    remover = BackgroundRemover("paper", cache=tmp_path / "file")
    for _ in range(2):
        np.testing.assert_array_equal(remover.mask(photo()), PAPER.mask(photo()))
    assert capsys.readouterr().err.count("cannot write to") == 1


def network(path: Path, *, side: int | None = 32, channels: int = 3, flat: bool = False) -> str:
    """An ONNX file that finds salient what is red; `flat` gives the same everywhere."""
    onnx = pytest.importorskip("onnx")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [make.make_node("Slice", ["x", "first", "last", "axis"], ["red"])]
    if flat:
        nodes.append(make.make_node("Mul", ["red", "zero"], ["out"]))
    else:
        nodes.append(make.make_node("Identity", ["red"], ["out"]))
    size = ["h", "w"] if side is None else [side, side]
    integers = {"first": 0, "last": 1, "axis": 1}
    graph = make.make_graph(
        nodes,
        "red",
        [make.make_tensor_value_info("x", kind, [1, channels, *size])],
        [make.make_tensor_value_info("out", kind, [1, 1, *size])],
        [make.make_tensor(k, onnx.TensorProto.INT64, [1], [v]) for k, v in integers.items()]
        + [make.make_tensor("zero", kind, [], [0.0])],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return str(path)


def red_square() -> np.ndarray:
    image = np.full((128, 96, 3), (20, 200, 200), np.uint8)
    image[32:96, 24:72] = (220, 30, 30)
    return image


@pytest.mark.parametrize("side", [32, 48, None])
def test_a_network_of_ones_own(tmp_path: Path, side: int | None):
    pytest.importorskip("onnxruntime")
    remover = BackgroundRemover("rembg", network(tmp_path / "red.onnx", side=side))
    remover.check()
    mask = remover.mask(red_square())
    assert mask[32:96, 24:72].all()
    assert not mask[:24].any()
    assert not mask[:, 82:].any()


@pytest.mark.parametrize("image", [red_square()[:1, :1], np.zeros((9, 5, 3), np.uint8)])
def test_a_network_that_sees_nothing_keeps_the_page(tmp_path: Path, image: np.ndarray):
    pytest.importorskip("onnxruntime")
    model = network(tmp_path / "red.onnx")
    assert BackgroundRemover("rembg", model).mask(image).all()
    blind = network(tmp_path / "flat.onnx", flat=True)
    assert BackgroundRemover("rembg", blind).mask(red_square()).all()


def test_workers_load_the_network_themselves(tmp_path: Path):
    pytest.importorskip("onnxruntime")
    remover = BackgroundRemover("rembg", network(tmp_path / "red.onnx"), tmp_path / "masks")
    expected = BackgroundRemover("rembg", remover.model).mask(red_square())  # loaded here too
    pages = [np.roll(red_square(), i, axis=0) for i in range(4)]
    loader = DataLoader(pages, None, num_workers=2, collate_fn=remover.mask, timeout=60)
    masks = [np.asarray(mask) for mask in loader]
    np.testing.assert_array_equal(masks[0], expected)
    assert len(list((tmp_path / "masks").iterdir())) == 4
    assert pickle.loads(pickle.dumps(remover)) == remover


def test_another_file_at_the_same_path_has_another_identity(tmp_path: Path):
    remover = BackgroundRemover("rembg", network(tmp_path / "red.onnx"))
    before = remover.identity
    assert before != PAPER.identity
    assert BackgroundRemover("rembg", remover.model).identity == before
    network(tmp_path / "red.onnx", flat=True)
    assert remover.identity != before


def test_unusable_files_are_named(tmp_path: Path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(InputError, match=r"background_model: onnxruntime cannot load .*text.onnx"):
        BackgroundRemover("rembg", str(tmp_path / "text.onnx")).check()
    with pytest.raises(InputError, match=r"background_model: no such file .*away.onnx; give"):
        BackgroundRemover("rembg", str(tmp_path / "away.onnx")).check()
    grey = network(tmp_path / "grey.onnx", channels=1)
    with pytest.raises(InputError, match=r"grey.onnx must take one input \(1, 3, H, W\)"):
        BackgroundRemover("rembg", grey).check()


@pytest.mark.parametrize("name", ["sam", "u3net", ""])
def test_other_names_are_refused(name: str):
    with pytest.raises(InputError, match=f"one of {', '.join(MODELS)}, got '{name}'"):
        BackgroundRemover("rembg", name).check()


def test_paper_needs_no_model():
    BackgroundRemover("paper", "no such model").check()


@pytest.mark.skipif(HAS_REMBG, reason="rembg is installed")
def test_without_rembg_the_remedy_is_told():
    with pytest.raises(InputError, match=r"rembg cannot be imported .*'\.\[rembg\]', or set"):
        BackgroundRemover("rembg").check()


@pytest.mark.skipif(not HAS_REMBG, reason="rembg is not installed: pip install -e '.[rembg]'")
def test_a_name_is_the_file_that_rembg_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    remover = BackgroundRemover("rembg", "u2netp")
    with pytest.raises(InputError, match=r"file of 'u2netp' is missing, expected as .*u2netp.onnx"):
        remover.check()
    file = network(tmp_path / "u2netp.onnx", side=320)
    assert find_model("u2netp") == Path(file)
    remover.check()
    own = BackgroundRemover("rembg", file)
    np.testing.assert_array_equal(remover.mask(red_square()), own.mask(red_square()))
