"""Image files: read as upright 8-bit RGB whatever they hold, damage named; written as PNG.

Pages of PDF files are images too; how they are called stands in `detector.data.page.pdf`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from detector.core.errors import InputError
from detector.core.files import replacing
from detector.data.page import pdf

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".pdf")
KINDS = "jpg, jpeg, png, webp, bmp, tif, tiff, gif or pdf"

# What the content may be, whatever the suffix: collections from the web mix them up. The list is
# closed because some of Pillow's other readers start external programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
# Files of these often hold several pages or frames.
_SEVERAL = (".tif", ".tiff", ".gif", ".webp")

# EXIF 2.32, tag 274: what turns the stored rows and columns into the displayed page.
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


#: Most pixels of a page, Pillow's own limit against decompression bombs, and of a side, since
#: OpenCV cannot warp a longer one. Both are looked up in the header, before anything is decoded.
MAX_PIXELS = 2**30 // 4 // 3
MAX_SIDE_PX = 32_766


class TooLargeError(InputError):
    """The image has more than MAX_PIXELS or a side longer than MAX_SIDE_PX."""


def list_images(folder: Path) -> list[Path]:
    """Images directly in `folder`, sorted by file name; the suffix counts in any case.

    Hidden files (`._scan.jpg` beside copies from a Mac) are left out. Raises InputError
    when the folder is missing.
    """
    return [page for file in _image_files(folder) for page in pages_of(file)]


def pages_of(path: Path) -> list[Path]:
    """The paths of the pages of a PDF file of several; else the file's own alone.

    Also of a PDF that cannot be opened: `read_image` tells why.
    """
    if path.suffix.lower() != pdf.SUFFIX:
        return [path]
    try:
        with _told(path):
            count = pdf.count_pages(path)
    except InputError:
        return [path]
    numbers = range(1, count + 1)
    return [path.with_name(pdf.page_name(path.name, n)) for n in numbers] if count > 1 else [path]


def is_called_image(path: PurePath) -> bool:
    """Whether a path is called as image files are, or a page of one."""
    return pdf.file_of(path).suffix.lower() in IMAGE_SUFFIXES


def left_out(folder: Path) -> list[str]:
    """Names of what is in `folder` beside its images, sorted; those of folders end with `/`.

    Hidden ones are not listed.
    """
    others = set(folder.iterdir()).difference(_image_files(folder))
    names = (f"{path.name}/" if path.is_dir() else path.name for path in others)
    return sorted(name for name in names if not name.startswith("."))


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of images; check the path")
    return sorted(
        (
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES
            and not path.name.startswith(".")
            and path.is_file()
        ),
        key=lambda path: path.name,
    )


def frames(path: Path) -> int:
    """How many pages or frames a file holds, of which the first alone is read.

    1 for the kinds that seldom hold several, and for what cannot be read.
    """
    if path.suffix.lower() not in _SEVERAL:
        return 1
    try:
        with _opened(path) as image:
            return int(getattr(image, "n_frames", 1))
    except InputError:
        return 1


def image_size(path: Path) -> tuple[int, int]:
    """`(width, height)` in pixels as displayed (EXIF applied), from the header alone.

    Of a page of a PDF as it is drawn. Raises InputError naming the file when the header cannot be
    read, TooLargeError when the page is beyond MAX_PIXELS or MAX_SIDE_PX.
    """
    width, height, orientation = stored_frame(path)
    return (height, width) if orientation >= 5 else (width, height)


def stored_frame(path: Path) -> tuple[int, int, int]:
    """Width and height in pixels as stored, and the EXIF orientation, from the header alone.

    Raises InputError as `image_size` does.
    """
    if pdf.is_pdf(path):
        with _pdf_page(path) as page:
            return *pdf.size_px(page), 1
    with _opened(path) as image:
        return *_stored_size(image), _orientation(image)


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Replace a file by `picture`, `(H, W, 3)` uint8 RGB, atomically."""
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def read_image(path: Path) -> NDArray[np.uint8]:
    """The page as `(H, W, 3)` uint8 RGB, EXIF orientation or the rotation of a PDF applied.

    16-bit grey keeps its high byte, transparency is laid on white, palettes and CMYK are
    converted, the first page or frame is taken (see `frames`). Raises InputError naming the file
    when it is missing, not an image, truncated or beyond MAX_PIXELS or MAX_SIDE_PX.
    """
    if pdf.is_pdf(path):
        with _pdf_page(path) as page:
            return pdf.drawn(page)
    with _opened(path) as image:
        orientation = 1 if image.format == "TIFF" else _orientation(image)  # Pillow turns those
        image.load()
        rgb = _to_rgb(image)
        if orientation in _TO_UPRIGHT:
            rgb = rgb.transpose(_TO_UPRIGHT[orientation])
        return np.array(rgb)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image opened; every way a decoder can fail becomes an InputError naming the file."""
    with _told(path), warnings.catch_warnings():
        # Between one and two times its limit Pillow only warns.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # of metadata, which say nothing of pixels
        with Image.open(path, formats=_FORMATS) as image:
            _require_size(path, *image.size)
            if image.mode == "F":  # whose black and white nothing tells
                raise InputError(f"{path}: has fractions as pixels; save it with 8 or 16 bits")
            yield image


@contextmanager
def _pdf_page(path: Path) -> Iterator[Any]:
    """The page of a PDF opened, in the same way."""
    with _told(path), pdf.opened(path) as page:
        _require_size(path, *pdf.size_px(page))
        yield page


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What goes wrong in reading a file becomes an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLargeError(
            f"{path}: more than {Image.MAX_IMAGE_PIXELS} pixels, Pillow's limit against "
            f"decompression bombs; make the image smaller ({error})"
        ) from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{path}: {_why_not_an_image(path)}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except MemoryError:
        raise
    except PermissionError:
        raise InputError(f"{path}: no permission to read it; change its access rights") from None
    except Exception as error:  # decoders raise almost anything on damaged files
        raise InputError(
            f"{path}: broken or truncated image ({error}); copy it again or remove it"
        ) from None


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) before the orientation; of a TIFF Pillow's versions give either."""
    tags = getattr(image, "tag_v2", None)
    width, height = image.size if tags is None else (tags[256], tags[257])
    return int(width), int(height)


def _require_size(path: Path, width: int, height: int) -> None:
    """Raise TooLargeError for a page beyond the limits; other libraries may lift Pillow's."""
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE_PX:
        raise TooLargeError(
            f"{path}: {width} x {height} pixels, but a page has at most {MAX_PIXELS} and "
            f"{MAX_SIDE_PX} on a side; make the image smaller"
        )


def _why_not_an_image(path: Path) -> str:
    if path.stat().st_size == 0:
        return "the file is empty (0 bytes); copy it again or remove it"
    return f"not an image in a format read here ({', '.join(_FORMATS)}); convert or remove it"


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 when there is none or it makes no sense."""
    try:
        # The PNG class overrides this to decode the whole file in search of a late EXIF
        # chunk, which would make the header check as slow as reading every page.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow's own conversion clips 16-bit grey at 255, which turns pages white.
        high = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(high.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return image.convert("RGB")
