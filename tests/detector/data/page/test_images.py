from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from detector.core.errors import InputError
from detector.data.page.images import frames, image_size, left_out, list_images, read_image

# 3 wide, 2 high, every pixel different.
PIXELS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 0], [255, 255, 255], [128, 64, 32]]],
    np.uint8,
)
# What each EXIF orientation displays, as array operations on (row, column).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def with_orientation(path: Path, value: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = value
    return save(path, Image.fromarray(PIXELS), exif=exif)


class TestOrientation:
    @pytest.mark.parametrize("suffix", ["png", "tif"])
    @pytest.mark.parametrize("value", range(1, 9))
    def test_all_eight_are_applied(self, tmp_path: Path, value: int, suffix: str) -> None:
        path = with_orientation(tmp_path / f"a.{suffix}", value)
        image = read_image(path)
        np.testing.assert_array_equal(image, UPRIGHT[value](PIXELS))
        np.testing.assert_array_equal(image, ImageOps.exif_transpose(Image.open(path)))
        assert image_size(path) == image.shape[1::-1]

    def test_jpeg_header_size_is_the_displayed_one(self, tmp_path: Path) -> None:
        path = with_orientation(tmp_path / "a.jpg", 6)
        assert image_size(path) == (2, 3)
        assert read_image(path).shape == (3, 2, 3)

    @pytest.mark.parametrize("value", [0, 9, 65535])
    def test_senseless_value_means_upright(self, tmp_path: Path, value: int) -> None:
        path = with_orientation(tmp_path / "a.png", value)
        np.testing.assert_array_equal(read_image(path), PIXELS)

    def test_damaged_exif_block_is_no_obstacle(self, tmp_path: Path) -> None:
        path = save(tmp_path / "a.png", Image.fromarray(PIXELS), exif=b"Exif\x00\x00nonsense")
        np.testing.assert_array_equal(read_image(path), PIXELS)


class TestModes:
    def test_sixteen_bit_grey_keeps_its_high_byte(self, tmp_path: Path) -> None:
        deep = np.array([[0, 255, 256], [0x8000, 0xFF00, 0xFFFF]], np.uint16)
        image = read_image(save(tmp_path / "a.png", Image.fromarray(deep)))
        expected = np.array([[0, 0, 1], [128, 255, 255]], np.uint8)
        np.testing.assert_array_equal(image, np.stack([expected] * 3, axis=2))

    def test_grey_and_bilevel(self, tmp_path: Path) -> None:
        grey = np.array([[0, 100], [200, 255]], np.uint8)
        image = read_image(save(tmp_path / "grey.png", Image.fromarray(grey)))
        np.testing.assert_array_equal(image, np.stack([grey] * 3, axis=2))
        bits = read_image(save(tmp_path / "bits.png", Image.fromarray(grey > 150)))
        np.testing.assert_array_equal(bits[..., 0], [[0, 0], [255, 255]])

    def test_palette(self, tmp_path: Path) -> None:
        palette = Image.new("P", (2, 1))
        palette.putpalette([255, 0, 0, 0, 0, 255])
        palette.putpixel((1, 0), 1)
        image = read_image(save(tmp_path / "a.png", palette))
        np.testing.assert_array_equal(image, [[[255, 0, 0], [0, 0, 255]]])

    def test_transparency_is_laid_on_white(self, tmp_path: Path) -> None:
        rgba = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 128]]], np.uint8)
        image = read_image(save(tmp_path / "a.png", Image.fromarray(rgba)))
        np.testing.assert_array_equal(image, [[[255, 255, 255], [0, 0, 0], [255, 127, 127]]])

    def test_transparent_palette_colour_is_white(self, tmp_path: Path) -> None:
        palette = Image.new("P", (2, 1))
        palette.putpalette([9, 9, 9, 0, 0, 255])
        palette.putpixel((1, 0), 1)
        image = read_image(save(tmp_path / "a.png", palette, transparency=0))
        np.testing.assert_array_equal(image, [[[255, 255, 255], [0, 0, 255]]])

    def test_cmyk_jpeg(self, tmp_path: Path) -> None:
        cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
        image = read_image(save(tmp_path / "a.jpg", cmyk, quality=95))
        assert image.shape == (16, 16, 3)
        assert np.abs(image.astype(int) - [255, 0, 0]).max() <= 4

    @pytest.mark.parametrize("suffix", ["bmp", "tif", "tiff", "gif", "webp"])
    def test_other_kinds_give_the_same_pixels(self, tmp_path: Path, suffix: str) -> None:
        options = {"lossless": True} if suffix == "webp" else {}
        path = save(tmp_path / f"a.{suffix}", Image.fromarray(PIXELS), **options)
        np.testing.assert_array_equal(read_image(path), PIXELS)
        assert image_size(path) == (3, 2)
        assert frames(path) == 1

    @pytest.mark.parametrize("suffix", ["tif", "gif", "webp"])
    def test_of_several_pages_the_first_counts(self, tmp_path: Path, suffix: str) -> None:
        pages = [Image.new("RGB", (8, 8), colour) for colour in ("#000000", "#ff0000", "#0000ff")]
        path = save(tmp_path / f"a.{suffix}", pages[0], save_all=True, append_images=pages[1:])
        assert frames(path) == 3
        assert read_image(path).max() < 8

    def test_frames_of_what_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_bytes(b"II*\x00nonsense")
        assert frames(tmp_path / "a.tif") == frames(tmp_path / "none.gif") == 1

    def test_fractions_have_no_known_white(self, tmp_path: Path) -> None:
        path = save(tmp_path / "a.tif", Image.fromarray(np.ones((2, 3), np.float32)))
        for read in (image_size, read_image):
            with pytest.raises(InputError, match=r"a\.tif: has fractions as pixels; save it"):
                read(path)

    def test_array_is_writable_and_contiguous(self, tmp_path: Path) -> None:
        image = read_image(with_orientation(tmp_path / "a.png", 6))
        assert image.dtype == np.uint8
        assert image.flags.writeable
        assert image.flags.c_contiguous


class TestBroken:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"no\.jpg: no such file"):
            read_image(tmp_path / "no.jpg")

    @pytest.mark.parametrize("read", [read_image, image_size])
    def test_empty_and_not_an_image(self, tmp_path: Path, read: object) -> None:
        (tmp_path / "a.jpg").write_bytes(b"")
        (tmp_path / "b.jpg").write_text("hello")
        with pytest.raises(InputError, match=r"a\.jpg: the file is empty \(0 bytes\)"):
            read(tmp_path / "a.jpg")
        with pytest.raises(InputError, match=r"b\.jpg: not an image in a format read here"):
            read(tmp_path / "b.jpg")

    @pytest.mark.parametrize("suffix", ["jpg", "png"])
    def test_truncated_pixels_pass_the_header_check_only(self, tmp_path: Path, suffix: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        path = save(tmp_path / f"a.{suffix}", Image.fromarray(noise))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert image_size(path) == (64, 64)
        with pytest.raises(InputError, match=rf"a\.{suffix}: broken or truncated image"):
            read_image(path)

    def test_decompression_bomb_is_refused_by_its_header(self, tmp_path: Path) -> None:
        def chunk(kind: bytes, data: bytes) -> bytes:
            crc = struct.pack(">I", zlib.crc32(kind + data))
            return struct.pack(">I", len(data)) + kind + data + crc

        header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
        png = (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", b"")
            + chunk(b"IEND", b"")
        )
        path = tmp_path / "bomb.png"
        path.write_bytes(png)
        for read in (image_size, read_image):
            with pytest.raises(
                InputError, match=r"bomb\.png: more than \d+ pixels, Pillow's limit"
            ):
                read(path)

    def test_other_decoders_are_not_started(self, tmp_path: Path) -> None:
        data = io.BytesIO()
        Image.new("RGB", (4, 4)).save(data, "PPM")
        (tmp_path / "a.png").write_bytes(data.getvalue())
        with pytest.raises(InputError, match="convert or remove it"):
            read_image(tmp_path / "a.png")


class TestListImages:
    def test_any_case_sorted_without_hidden_files_and_folders(self, tmp_path: Path) -> None:
        for name in ("b.JPG", "a.jpeg", "C.Png", "._b.JPG", "d.txt", "e"):
            (tmp_path / name).touch()
        (tmp_path / "folder.jpg").mkdir()
        assert [p.name for p in list_images(tmp_path)] == ["C.Png", "a.jpeg", "b.JPG"]

    def test_what_is_left_out(self, tmp_path: Path) -> None:
        for name in ("a.webp", "b.BMP", "c.tif", "d.TIFF", "e.gif", "f.svg", "notes", ".hidden"):
            (tmp_path / name).touch()
        (tmp_path / "more").mkdir()
        assert len(list_images(tmp_path)) == 5
        assert left_out(tmp_path) == ["f.svg", "more/", "notes"]

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such folder of images"):
            list_images(tmp_path / "nowhere")
