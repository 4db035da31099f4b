from __future__ import annotations

from pathlib import Path

import pytest

from detector.core.errors import InputError
from orchestrator.space.files import available_spaces, find_space, read_space_file


def write(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_follow_yaml_1_2(tmp_path: Path) -> None:
    text = "a: 1e-3\nb: off\nc: none\nd: null\ne: [true, 2, 1.5e+2, .5, -3]\nf: 12:30\ng: no\nh:\n"
    content = read_space_file(write(tmp_path, text)).content
    assert content == {
        "a": 0.001,
        "b": "off",
        "c": "none",
        "d": None,
        "e": [True, 2, 150.0, 0.5, -3],
        "f": "12:30",
        "g": "no",
        "h": None,
    }
    assert [type(v) for v in content["e"]] == [bool, int, float, float, int]


def test_lines_are_known_for_keys_and_list_items(tmp_path: Path) -> None:
    file = read_space_file(
        write(tmp_path, "# note\nfixed:\n  a.b: 1\nwarm_start:\n  - x: 1\n    y: 2\n")
    )
    path = tmp_path / "space.yaml"
    assert file.where(("fixed", "a.b")) == f"{path}:3"
    assert file.where(("warm_start", 0, "y")) == f"{path}:6"
    assert file.where(("warm_start", 0, "unknown")) == f"{path}:5"
    assert file.where(()) == f"{path}:1"


def test_every_key_given_twice_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_space_file(write(tmp_path, "a: 1\nb: {x: 1, x: 2}\na: 3\n"))
    path = tmp_path / "space.yaml"
    assert str(caught.value).splitlines() == [
        f"{path}:2: x: given twice (first in line 2); keep one",
        f"{path}:3: a: given twice (first in line 1); keep one",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"space\.yaml: must hold `key: value` lines"),
        ("- a\n", r"space\.yaml: must hold `key: value` lines"),
        ("a: [1\n", r"space\.yaml:2: not valid YAML"),
        ("a: 1\nb: *x\n", r"space\.yaml:2: not valid YAML: aliases .* repeat the value"),
        ("a: &x [*x]\n", r"space\.yaml:1: not valid YAML: aliases"),
        (
            "a: 1\nb: !!python/object/apply:os.getcwd []\n",
            r"space\.yaml:2: not valid YAML: could not",
        ),
        ("? [1, 2]\n: 3\n", r"space\.yaml:1: a key must be plain text"),
        ("a: 1\n---\nb: 2\n", r"space\.yaml:2: not valid YAML: but found another document"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a: \x00\n", r"space\.yaml: not valid YAML"),
    ],
)
def test_what_is_no_space_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_space_file(write(tmp_path, text))


def test_files_that_are_no_text_or_too_large(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(InputError, match="must be UTF-8 text"):
        read_space_file(path)
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(InputError, match="has more than 1000000 bytes"):
        read_space_file(path)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_space_file(tmp_path)


def test_shipped_and_local_spaces_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert {"dbnet", "dbnetpp", "smoke"} <= available_spaces().keys()
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "mine.yaml").touch()
    assert find_space("mine") == Path("search_spaces/mine.yaml")
    (tmp_path / "other.yml").touch()
    assert find_space("other.yml") == Path("other.yml")


def test_a_name_longer_than_any_files_is_an_unknown_space() -> None:
    with pytest.raises(InputError, match="no space or file called"):
        find_space("x" * 5000)


def test_an_unknown_space_lists_the_known_ones() -> None:
    with pytest.raises(InputError) as caught:
        find_space("dbnetp")
    text = str(caught.value)
    assert text.startswith("space: no space or file called 'dbnetp'; did you mean dbnet")
    assert (
        "available: ablation, ablation_augment, dbnet, dbnetpp, published, receipts, smoke" in text
    )
