"""PDF files written by hand (ISO 32000-1, 7.5): objects, their table, the trailer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image


def write_pdf(path: Path, objects: Sequence[str], trailer: str = "") -> Path:
    """A PDF of these objects, numbered from 1; the first is the catalogue."""
    data = b"%PDF-1.7\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    end = f"trailer\n<</Size {len(objects) + 1}/Root 1 0 R{trailer}>>\n"
    path.write_bytes(data + f"{head}{end}startxref\n{len(data)}\n%%EOF\n".encode())
    return path


def stream(content: str, entries: str = "") -> str:
    return f"<<{entries}/Length {len(content)}>>\nstream\n{content}\nendstream"


def one_page(
    path: Path, page: str, content: str = "", more: Sequence[str] = (), **about: str
) -> Path:
    """A PDF of one page, object 3, with entries `page`; `more` are the objects from 5 on."""
    return write_pdf(
        path,
        [
            f"<</Type/Catalog/Pages 2 0 R{about.get('catalogue', '')}>>",
            "<</Type/Pages/Kids[3 0 R]/Count 1>>",
            f"<</Type/Page/Parent 2 0 R/Contents 4 0 R{page}>>",
            stream(content),
            *more,
        ],
        about.get("trailer", ""),
    )


def scanned(path: Path, sizes: Sequence[tuple[int, int]], colour: str = "white") -> Path:
    """A PDF of scans at 200 dpi, a page for each size in pixels."""
    first, *others = (Image.new("RGB", size, colour) for size in sizes)
    first.save(path, save_all=True, append_images=others, resolution=200)
    return path
