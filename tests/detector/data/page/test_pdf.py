from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from pdfs import one_page, scanned, stream, write_pdf
from PIL import Image

from detector.core.errors import InputError
from detector.data.page.images import (
    MAX_SIDE_PX,
    TooLargeError,
    frames,
    image_size,
    is_called_image,
    left_out,
    list_images,
    pages_of,
    read_image,
    stored_frame,
)
from detector.data.page.pdf import count_pages, file_of, is_pdf, page_name

# At 200 dpi 18 points are 50 pixels. The page is 100 wide and 200 high with a red square in the
# lower left, since y points up in a PDF.
PAGE = "/MediaBox[0 0 36 72]"
SQUARE = "1 0 0 rg 0 0 18 18 re f"
RED, WHITE = [255, 0, 0], [255, 255, 255]


def corners(image: np.ndarray) -> list[str]:
    """Which corners, 10 pixels from either side, are not white."""
    places = {"top left": (10, 10), "top right": (10, -10)}
    places |= {"bottom left": (-10, 10), "bottom right": (-10, -10)}
    return [name for name, (y, x) in places.items() if image[y, x].tolist() != WHITE]


class TestNames:
    def test_pages_are_called_as_fragments(self) -> None:
        page = PurePosixPath("in/a.PDF", page_name("b.pdf", 12))
        assert page.as_posix() == "in/a.PDF/b.pdf#page=12"
        assert file_of(page).as_posix() == "in/a.PDF/b.pdf"
        assert is_pdf(page)
        assert is_called_image(page)

    @pytest.mark.parametrize(
        "name", ["a.pdf", "a.png#page=1", "a.pdf#page=0", "a.pdf#page=", "#page=1", ".pdf#page=1"]
    )
    def test_other_names_are_their_own_files(self, name: str) -> None:
        assert file_of(PurePosixPath(name)).name == name

    @given(st.text(st.characters(exclude_characters="/\0"), min_size=1), st.integers(1, 10_000))
    @examples(100)
    def test_the_file_of_a_page_is_found_again(self, stem: str, number: int) -> None:
        file = PurePosixPath("in", f"{stem}.pdf")
        assert file_of(file.with_name(page_name(file.name, number))) == file


class TestDrawing:
    def test_a_scan_has_its_own_pixels(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (61, 83, 3)).astype(np.uint8)
        noise = np.kron(noise[:8, :8], np.ones((8, 8, 1), np.uint8))
        Image.fromarray(noise).save(tmp_path / "a.pdf", resolution=200, quality=100)
        image = read_image(tmp_path / "a.pdf")
        assert image.shape == (64, 64, 3)
        assert np.abs(image.astype(int) - noise)[2::4, 2::4].mean() < 6  # a JPEG within

    @given(st.floats(0.01, 300), st.floats(0.01, 300), st.sampled_from([0, 90, 180, 270]))
    @examples(50)
    def test_the_size_is_that_of_what_is_drawn(
        self, tmp_path_factory: pytest.TempPathFactory, width: float, height: float, turn: int
    ) -> None:
        box = f"/MediaBox[0 0 {width:.4f} {height:.4f}]/Rotate {turn}"
        path = one_page(tmp_path_factory.mktemp("pdf") / "a.pdf", box)
        image = read_image(path)
        sides = (width, height) if turn % 180 == 0 else (height, width)
        assert image_size(path) == image.shape[1::-1]
        for pixels, points in zip(image.shape[1::-1], sides, strict=True):
            assert abs(pixels - max(1, points / 72 * 200)) < 0.51
        assert (image == 255).all()

    @pytest.mark.parametrize(
        ("turn", "size", "where"),
        [
            (0, (100, 200), "bottom left"),
            (90, (200, 100), "top left"),  # clockwise
            (180, (100, 200), "top right"),
            (270, (200, 100), "bottom right"),
        ],
    )
    def test_it_is_upright(
        self, tmp_path: Path, turn: int, size: tuple[int, int], where: str
    ) -> None:
        path = one_page(tmp_path / "a.pdf", f"{PAGE}/Rotate {turn}", SQUARE)
        assert image_size(path) == size
        assert stored_frame(path) == (*size, 1)
        image = read_image(path)
        assert corners(image) == [where]
        assert (image == RED).all(axis=2).sum() == 50 * 50

    def test_the_crop_box_is_the_page(self, tmp_path: Path) -> None:
        path = one_page(tmp_path / "a.pdf", f"{PAGE}/CropBox[0 0 18 36]", SQUARE)
        assert image_size(path) == (50, 100)
        assert corners(read_image(path)) == ["bottom left", "bottom right"]

    def test_notes_and_fields_of_forms_are_drawn(self, tmp_path: Path) -> None:
        note = "<</Type/Annot/Subtype/Square/Rect[0 54 18 72]/F 4/AP<</N 7 0 R>>>>"
        field = "<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/Rect[18 0 36 18]/F 4/AP<</N 7 0 R>>>>"
        look = stream("0 0 1 rg 0 0 18 18 re f", "/Type/XObject/Subtype/Form/BBox[0 0 18 18]")
        path = one_page(
            tmp_path / "a.pdf",
            f"{PAGE}/Annots[5 0 R 6 0 R]",
            more=[note, field, look],
            catalogue="/AcroForm<</Fields[6 0 R]>>",
        )
        assert corners(read_image(path)) == ["top left", "bottom right"]

    def test_what_shines_through_is_laid_on_white(self, tmp_path: Path) -> None:
        half = "/Resources<</ExtGState<</H<</ca 0.5>>>>>>"
        image = read_image(one_page(tmp_path / "a.pdf", PAGE + half, f"/H gs {SQUARE}"))
        assert np.abs(image[-10, 10].astype(int) - [255, 127, 127]).max() <= 1

    def test_an_action_on_opening_changes_nothing(self, tmp_path: Path) -> None:
        code = "/OpenAction<</S/JavaScript/JS(this.getField('a').value = 'b';)>>"
        path = one_page(tmp_path / "a.pdf", PAGE, SQUARE, catalogue=code)
        assert corners(read_image(path)) == ["bottom left"]

    def test_the_array_is_our_own(self, tmp_path: Path) -> None:
        image = read_image(one_page(tmp_path / "a.pdf", PAGE, SQUARE))
        assert image.dtype == np.uint8
        assert image.flags.writeable
        assert image.flags.c_contiguous


class TestPages:
    def test_each_page_of_several_is_an_image(self, tmp_path: Path) -> None:
        sizes = [(40 + number, 30) for number in range(11)]
        scanned(tmp_path / "b.pdf", sizes)
        scanned(tmp_path / "c.PDF", [(20, 10)])
        Image.new("RGB", (5, 5)).save(tmp_path / "a.png")
        (tmp_path / "d.txt").touch()
        found = list_images(tmp_path)
        names = ["a.png", *(f"b.pdf#page={number}" for number in range(1, 12)), "c.PDF"]
        assert [path.name for path in found] == names
        assert [image_size(path) for path in found] == [(5, 5), *sizes, (20, 10)]
        assert [read_image(path).shape[1] for path in found[1:-1]] == [w for w, _ in sizes]
        assert left_out(tmp_path) == ["d.txt"]
        assert {frames(path) for path in found} == {1}
        assert count_pages(tmp_path / "b.pdf") == 11
        assert pages_of(found[3]) == [found[3]]

    def test_a_page_must_be_named_and_there(self, tmp_path: Path) -> None:
        path = scanned(tmp_path / "a.pdf", [(20, 10), (30, 10)])
        for read in (image_size, read_image):
            with pytest.raises(InputError, match=r"a\.pdf: has 2 pages; name one, as a\.pdf#p"):
                read(path)
            with pytest.raises(InputError, match=r"a\.pdf: has no page 3, but 2; correct"):
                read(tmp_path / "a.pdf#page=3")
        scanned(path, [(20, 10)])
        assert image_size(tmp_path / "a.pdf#page=1") == image_size(path) == (20, 10)


def catalogue(pages: str) -> list[str]:
    return ["<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages{pages}>>"]


class TestRefused:
    @pytest.mark.parametrize("read", [image_size, read_image])
    def test_damage_is_named_with_its_remedy(self, tmp_path: Path, read: object) -> None:
        path = tmp_path / "a.pdf"
        path.write_bytes(b"")
        with pytest.raises(InputError, match=r"a\.pdf: the file is empty \(0 bytes\); copy it"):
            read(path)
        path.write_bytes(b"hello %%EOF")
        with pytest.raises(InputError, match=r"a\.pdf: broken, or no PDF \(.+\); copy it again"):
            read(path)
        scanned(path, [(300, 200)])
        path.write_bytes(path.read_bytes()[:-1100])
        with pytest.raises(InputError, match=r"a\.pdf: no PDF, or cut off: .+; copy it again"):
            read(path)
        with pytest.raises(InputError, match=r"none\.pdf: no such file"):
            read(tmp_path / "none.pdf")
        assert pages_of(path) == [path]

    def test_no_pages_and_pages_that_are_not_there(self, tmp_path: Path) -> None:
        empty = write_pdf(tmp_path / "empty.pdf", catalogue("/Kids[]/Count 0"))
        with pytest.raises(InputError, match=r"empty\.pdf: a PDF without pages; remove it"):
            read_image(empty)
        lost = write_pdf(tmp_path / "lost.pdf", catalogue("/Kids[9 0 R]/Count 2"))
        assert [path.name for path in pages_of(lost)] == ["lost.pdf#page=1", "lost.pdf#page=2"]
        with pytest.raises(InputError, match=r"lost\.pdf#page=2: a broken page .+; save the file"):
            read_image(tmp_path / "lost.pdf#page=2")
        many = write_pdf(tmp_path / "many.pdf", catalogue("/Kids[9 0 R]/Count 900000"))
        assert pages_of(many) == [many]
        with pytest.raises(InputError, match=r"many\.pdf: has 900000 pages, but at most 10000"):
            image_size(many)

    @pytest.mark.parametrize("handler", ["Standard", "Strange"])
    def test_encrypted(self, tmp_path: Path, handler: str) -> None:
        # The hash of no password, so not that of the empty one, which opens many files.
        keys = f"/O<{'11' * 32}>/U<{'22' * 32}>/P -4"
        about = f"/ID[<00><00>]/Encrypt<</Filter/{handler}/V 1/R 2{keys}>>"
        path = one_page(tmp_path / "a.pdf", PAGE, SQUARE, trailer=about)
        for read in (image_size, read_image):
            with pytest.raises(InputError, match=r"a\.pdf: is encrypted, .+; save it without one"):
                read(path)

    def test_a_page_beyond_the_limits(self, tmp_path: Path) -> None:
        side = MAX_SIDE_PX * 72 / 200
        assert image_size(one_page(tmp_path / "a.pdf", f"/MediaBox[0 0 {side} 1]"))[0] == 32_766
        for width, height in ((side + 1, 1), (3500, 3500)):
            path = one_page(tmp_path / "a.pdf", f"/MediaBox[0 0 {width} {height}]")
            for read in (image_size, read_image):
                with pytest.raises(TooLargeError, match=r"a\.pdf: .+ but a page has at most"):
                    read(path)

    def test_without_the_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = scanned(tmp_path / "a.pdf", [(20, 10), (20, 10)])
        monkeypatch.setitem(sys.modules, "pypdfium2", None)
        assert list_images(tmp_path) == [path]
        for read in (image_size, read_image):
            with pytest.raises(InputError, match=r"a\.pdf: .+pip install -e '\.\[pdf\]'"):
                read(path)

    @given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=30))
    @examples(100)
    def test_damaged_bytes_are_read_or_refused(
        self, tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]
    ) -> None:
        path = one_page(tmp_path_factory.mktemp("pdf") / "a.pdf", PAGE, SQUARE)
        data = bytearray(path.read_bytes())
        for place, value in damage:
            data[place % len(data)] = value
        path.write_bytes(data)
        for page in pages_of(path):
            try:
                size = image_size(page)
            except InputError:
                continue
            assert read_image(page).shape == (size[1], size[0], 3)
