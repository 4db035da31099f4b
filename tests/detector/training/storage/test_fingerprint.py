"""What tells the pages of two trainings apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from label_files import edit
from pdfs import scanned

from detector.data.labels.annotations import Page, list_images, read_split
from detector.training.storage.fingerprint import Contents, fingerprint, sizes_of


def test_a_fingerprint_counts_what_is_used_and_nothing_else(data: Path):
    before = fingerprint(read_split(data, "train"))
    assert fingerprint(read_split(data, "train")) == before
    assert fingerprint(read_split(data, "train", limit=2)).pages == 2

    def retag(words: dict) -> None:
        words["0001"]["language"] = ["ko"]

    edit(data, "train", retag)
    assert fingerprint(read_split(data, "train")) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda words: words["0001"].update(ignore=True),
        lambda words: words["0001"].update(transcription="other"),
        lambda words: words["0001"]["points"].__setitem__(0, [1, 1]),
    ],
)
def test_every_edit_of_a_word_changes_the_annotations_alone(
    data: Path, change: Callable[[dict], None]
):
    before = fingerprint(read_split(data, "val"))
    edit(data, "val", change)
    after = fingerprint(read_split(data, "val"))
    assert after.annotations != before.annotations
    assert (after.sizes, after.words) == (before.sizes, before.words)


def test_other_image_content_changes_the_digests_of_images_alone(data: Path):
    split = read_split(data, "val")
    before, (contents,) = fingerprint(split), Contents([split.pages]).wait()
    path = split.pages[0].path
    path.write_bytes(path.read_bytes() + b"0")
    assert Contents([split.pages]).wait() != (contents,)
    after = fingerprint(split)
    assert after.sizes != before.sizes
    assert (after.annotations, after.images) == (before.annotations, None)
    changed = bytearray(path.read_bytes())
    changed[-1] += 1
    path.write_bytes(changed)
    assert fingerprint(split) == after  # of the same size: only its content tells


def test_contents_are_the_digests_of_names_and_files_in_order(data: Path):
    splits = [read_split(data, name).pages for name in ("train", "val")]
    splits[0][1].path.unlink()  # a page that goes while it is read does not end a training
    found = Contents(splits)
    expected = []
    for pages in splits:
        text = ""
        for page in pages:
            known = page.path.exists()
            digest = hashlib.blake2b(page.path.read_bytes() if known else b"", digest_size=16)
            text += f"{page.name}\0{digest.hexdigest() if known else 'unreadable'}\0"
        expected.append(hashlib.blake2b(text.encode(), digest_size=16).hexdigest())
    assert list(found.wait()) == expected
    assert found.left == 0
    assert len({sizes_of(pages) for pages in splits}) == 2


def test_pages_of_a_pdf_are_those_of_its_file(tmp_path: Path):
    path = scanned(tmp_path / "a.pdf", [(40, 30), (50, 30)])
    pages = [Page(file.name, file, 40, 30, ()) for file in list_images(tmp_path)]
    size, content = path.stat().st_size, hashlib.blake2b(path.read_bytes(), digest_size=16)
    for told, digest in (
        (size, sizes_of(pages)),
        (content.hexdigest(), Contents([pages]).wait()[0]),
    ):
        text = f"a.pdf#page=1\0{told}\0a.pdf#page=2\0{told}\0"
        assert hashlib.blake2b(text.encode(), digest_size=16).hexdigest() == digest
