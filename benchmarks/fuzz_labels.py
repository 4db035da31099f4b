"""The readers of labels and of results: what each is given, and what must be true of it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path, PurePosixPath
from random import Random

import fuzz_seed_services
import fuzz_seed_texts
import fuzz_seeds
import numpy as np
from fuzz_inputs import Target, as_bytes, as_json, changed, damaged, require_clean
from fuzz_seeds import BOX, CURVE, Seed
from PIL import Image

from detector.cleval import Settings, score_files
from detector.core.errors import InputError
from detector.data.labels.annotations import scan_all, scan_split
from detector.data.labels.formats import Format, formats
from detector.data.labels.pages import KINDS, Split
from detector.data.labels.words import check_words
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled

SEEDS = fuzz_seeds.SEEDS | fuzz_seed_services.SEEDS | fuzz_seed_texts.SEEDS
FARTHEST_PX = 2**20
PREDICTED = {"a.jpg": {"img_w": 100, "img_h": 80, "words": {"0001": {"points": BOX, "score": 0.7}}}}
FLAT = " ".join(str(value) for point in CURVE for value in point)
CSV = f"filename,polygons\na.jpg,{FLAT}|10 20 50 20 50 40\nb.png,\n".encode()
LINES = (b"10,20,50,20,50,40,10,40,0.9\n60,5,90,5,90,15,60,15,0.5\n", b"10,20,50,40\n1,2,3,4\n")
NAMES = ("a.txt", "res_b.txt", "sub/a.txt", "../a.txt", "/etc/a.txt", "", "a\0.txt")

Case = tuple[Seed, tuple[bytes, ...]]


def labels(name: str, folder: Path) -> Target:
    """A format: files in a dataset are read as they are found there, and by the format's reader."""
    root = _dataset(folder / "dataset")
    format_ = formats()[name]

    def read(case: Case) -> None:
        seed, contents = case
        files = [LabelFile(root / path, PurePosixPath(path)) for path in seed.names]
        files = files[: len(contents)]
        for file, content in zip(files, contents, strict=True):
            file.path.write_bytes(content)
        try:
            try:
                _check_split(scan_split(root, "train"), root)
            except InputError as error:
                require_clean(error, (str(root),))
            for file in files:
                _check_file(format_, file, seed)
        finally:
            for file in files:
                file.path.unlink()

    for seed in SEEDS[name]:
        for path in seed.names:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
    return Target(lambda rng: _case(rng, rng.choice(SEEDS[name])), read, (str(root),))


def _case(rng: Random, seed: Seed) -> Case:
    """A seed, and contents for its first file or for all."""
    count = rng.choice([1, 1, len(seed.names)])
    documents = [changed(rng, seed.documents) for _ in range(count)]
    return seed, tuple(damaged(rng, seed.write(d), seed.pieces) for d in documents)


def _dataset(root: Path) -> Path:
    images = root / "images" / "train"
    images.mkdir(parents=True)
    for name in ("a.jpg", "b.png", "C.JPG"):
        Image.new("RGB", (100, 80), "white").save(images / name, "PNG")
    for folder in (root, root.parent):
        (folder / "a.jpg").write_bytes(b"outside of the folder of images")
    return root


def _check_file(format_: Format, file: LabelFile, seed: Seed) -> None:
    """Read a file as one of a format, whether it claims it or not."""
    try:
        assert format_.claims(file) in (True, False)
    except InputError as error:
        require_clean(error, (str(file.path),))
    _check_pages([*format_.read(file)], seed.words(file))


def _check_split(split: Split, root: Path) -> None:
    """See that nothing but pages of the dataset's folder with usable words came."""
    for fault in split.faults:
        assert fault.kind in KINDS
    for page in split.pages:
        assert page.path.parent == root / "images" / "train"
        for word in page.words:
            assert word.points.dtype == np.float32
            assert np.isfinite(word.points).all()
            assert 4 <= len(word.points) <= 1000
            assert np.abs(word.points).max() <= FARTHEST_PX


def _check_pages(pages: list[Labelled], words: int) -> None:
    """See that each word is read, counted as left out or told, here and in the check of words."""
    found, told = 0, False
    for page in pages:
        kept, faults = check_words(page.image, page.words, 100, 80)
        excluded = {fault.word for fault in faults if KINDS[fault.kind] == "word excluded"}
        assert {word.id for word in kept} | excluded == page.words.keys()
        assert all(kind in KINDS and isinstance(message, str) for _, kind, message in page.faults)
        assert all(isinstance(count, int) and count > 0 for count in page.left_out.values())
        assert all(isinstance(name, str) for name in (page.image, *page.others))
        found += len(page.words) + page.left_out.total()
        told |= any(KINDS[kind] == "page excluded" for _, kind, _ in page.faults)
    assert told or found >= words, f"{words - found} words are lost"


def predictions(folder: Path) -> Target:
    """JSON of detector.predict, which is converted and scored."""
    root = _dataset(folder / "dataset")
    file = folder / "predictions.json"

    def read(content: bytes) -> None:
        file.write_bytes(content)
        try:
            _check_results(file)
        except InputError as error:
            require_clean(error, (str(file),))
        found = scan_all(root, given=file)
        _check_split(found, root)

    def make(rng: Random) -> bytes:
        return damaged(rng, as_bytes(as_json(changed(rng, [{"images": PREDICTED}]))))

    return Target(make, read, (str(file), str(root)))


def results(folder: Path) -> Target:
    """Results as they are handed in: a table, or lines of numbers, as one file or in a zip."""

    def make(rng: Random) -> tuple[str, bytes]:
        suffix = rng.choice([".csv", ".txt", ".zip"])
        return suffix, _zip(rng) if suffix == ".zip" else _table(rng)

    def read(case: tuple[str, bytes]) -> None:
        suffix, content = case
        file = folder / f"results{suffix}"
        file.write_bytes(content)
        _check_results(file)

    return Target(make, read, (str(folder),))


def _table(rng: Random) -> bytes:
    return damaged(rng, rng.choice([CSV, *LINES]), fuzz_seed_texts.FIELDS)


def _zip(rng: Random) -> bytes:
    """A zip of files with names and contents of any kind, whose bytes may be damaged."""
    into = io.BytesIO()
    ways = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    with zipfile.ZipFile(into, "w", rng.choice(ways)) as archive:
        for name in rng.sample(NAMES, rng.choice([0, 1, 1, 2, 3])):
            archive.writestr(zipfile.ZipInfo(name), _table(rng))
    return damaged(rng, into.getvalue(), (b"PK\x01\x02", b"PK\x05\x06", b"\xff" * 4, b"\0" * 4))


def _check_results(file: Path) -> None:
    """Score a file against itself; all of it counts in finite numbers."""
    with redirect_stderr(io.StringIO()):
        scores = score_files(Settings(gt=file, pred=file))
    assert np.isfinite([value for value in scores.values() if isinstance(value, float)]).all()


def _target(name: str) -> Callable[[Path], Target]:
    return lambda folder: labels(name, folder)


TARGETS: dict[str, Callable[[Path], Target]] = {name: _target(name) for name in sorted(SEEDS)} | {
    "predictions": predictions,
    "results": results,
}
