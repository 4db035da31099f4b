"""YAML and JSON that build objects, explode or never end, in every place that reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detector.config.cli import parse_arguments, read_yaml
from detector.core.errors import InputError
from detector.data.labels.exclusion import read_exclusions
from detector.metrics.files import read_pages
from detector.postprocess.maps import PageMaps
from detector.training.storage.provenance import read_record
from orchestrator.results.leaderboard import read_leaderboard
from orchestrator.space.search_space import load_space

LAUGHS = "a: &a [lol, lol]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "object": "a: !!python/object/apply:os.system ['touch HACKED']\n",
    "module": "a: !!python/module:os\n",
    "name": "a: !!python/name:os.system\n",
    "laughs": LAUGHS,
    "itself": "a: &a [*a]\n",
    "merge": "a: &a {x: 1}\nb:\n  <<: *a\n",
    "deep": "a: " + "[" * 5000,
    "deep mapping": "a: " + "{a: " * 5000,
    "integer": "a: !!int x\n",
    "empty integer": 'a: !!int ""\n',
    "bool": "a: !!bool maybe\n",
    "bytes": "a: !!binary é\n",
    "time": "a: !!timestamp soon\n",
    "digits": "a: " + "9" * 5000 + "\n",
    "hundreds of digits": "a: " + "9" * 400 + "\n",
    "key": "? {a: 1}\n: 2\n",
    "two": "a: 1\n---\nb: 2\n",
    "control": "a: \x01\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("read", [read_yaml, lambda path: load_space(str(path), gpu=False)])
def test_yaml_files_are_plain_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], Any], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"file\.yaml") as caught:
        read(path)
    assert len(str(caught.value)) < 2000
    assert not (tmp_path / "HACKED").exists()


@pytest.mark.parametrize(
    "text",
    [
        "[!!python/object/apply:os.system ['touch HACKED']]",
        "[&a [x], *a]",
        "[" * 5000,
        "{a: !!int x}",
        "[" + "9" * 5000 + "]",
    ],
)
def test_bracketed_values_of_a_command_are_plain_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^tta\.scales: .*not valid YAML") as caught:
        parse_arguments([f"tta.scales={text}"])
    assert len(str(caught.value)) < 1000
    assert not (tmp_path / "HACKED").exists()


def test_a_settings_file_beyond_a_megabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("a: 1\n" + "#" * 1_000_000)
    for read in (read_yaml, lambda path: load_space(str(path), gpu=False)):
        with pytest.raises(InputError, match=r"file\.yaml: has more than 1000000 bytes"):
            read(path)


def test_a_device_is_no_settings_file() -> None:
    with pytest.raises(InputError, match="/dev/zero: must be a plain file"):
        read_yaml(Path("/dev/zero"))


JSON = {"nested": "[" * 100_000, "digits": '{"images": ' + "9" * 5000 + "}", "cut": '{"images": {'}
READERS: dict[str, Callable[[Path], Any]] = {
    "maps.json": lambda path: PageMaps(path.parent),
    "record.json": lambda path: read_record(path.parent),
    "leaderboard.json": lambda path: read_leaderboard(path.parent),
    "exclude.json": read_exclusions,
    "gt.json": read_pages,
}


@pytest.mark.parametrize("text", JSON.values(), ids=JSON.keys())
@pytest.mark.parametrize("name", READERS)
def test_json_that_cannot_be_used_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=str(tmp_path)):
        READERS[name](tmp_path / name)


def test_a_zip_of_labels_is_not_unpacked_beyond_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    from detector.data.raw import archives

    path = tmp_path / "gt.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gt_a.txt", "\n" * 2_000_000)
    assert path.stat().st_size < 10_000
    assert list(read_pages(path)) == ["a"]
    monkeypatch.setattr(archives, "_MOST_BYTES", 1_000_000)
    with pytest.raises(InputError, match=r"gt\.zip: its files have more than 1000000 bytes"):
        read_pages(path)
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    monkeypatch.undo()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"gt\.zip: not a readable zip"):
        read_pages(path)
