"""A cluster file with something wrong in it, one thing at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from detector.core.errors import InputError
from orchestrator.launch import cluster_file

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that is the program's, in a home with a token."""
    home = tmp_path / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text("secret\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").touch()
    return tmp_path


def shipped(name: str = "cluster.yaml", **changes: str) -> Path:
    """A copy of a shipped file in the working directory, filled in, with texts replaced."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for old, new in {
        "fs-00000000000000000": "fs-0123456789abcdef0",
        "==2.60.0": f"=={ray.__version__}",
        **changes,
    }.items():
        text = text.replace(old, new)
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path) -> list[str]:
    return list(cluster_file.faults(path, cluster_file.read(path)))


@pytest.mark.usefixtures("folder")
def test_a_file_that_is_filled_in_has_no_fault() -> None:
    assert faults(shipped()) == []


@pytest.mark.usefixtures("folder")
def test_a_placeholder_is_told_with_its_line_and_not_in_comments() -> None:
    path = shipped(**{"fs-0123456789abcdef0": "fs-00000000000000000"})
    lines = path.read_text(encoding="utf-8").splitlines()
    (number,) = [i for i, s in enumerate(lines, 1) if "fs-000" in s and "#" not in s]
    assert sum("fs-000" in line for line in lines) > 1
    assert faults(path) == [
        f"cluster.yaml:{number}: fs-00000000000000000 stands for the id of your EFS file system; "
        "put yours there"
    ]


def test_a_local_file_as_shipped_needs_a_user_and_a_key(folder: Path) -> None:
    user, key = faults(shipped("cluster.local.yaml"))
    assert "ssh_user: you stands for the user that your key lets in" in user
    assert key.startswith("auth.ssh_private_key: there is no ~/.ssh/receipts;")
    (folder / "home" / ".ssh").mkdir()
    (folder / "home" / ".ssh" / "receipts").touch()
    assert faults(shipped("cluster.local.yaml", **{"ssh_user: you": "ssh_user: me"})) == []


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_token_that_is_missing_or_empty_is_told_with_how_to_make_it(
    folder: Path, content: str | None
) -> None:
    token = folder / "home" / ".ray" / "auth_token"
    token.unlink()
    if content is not None:
        token.write_text(content)
    (fault,) = faults(shipped())
    told = "there is no ~/.ray/auth_token" if content is None else "~/.ray/auth_token is empty"
    assert told in fault
    assert "ray get-auth-token --generate" in fault


def test_another_folder_than_the_programs_is_told(folder: Path) -> None:
    (folder / "pyproject.toml").unlink()
    (fault,) = faults(shipped())
    assert fault == (
        f"file_mounts: {folder} is sent as ~/receipt-orchestrator to be installed, and holds no "
        "pyproject.toml; run `ray up`, and this, in the folder of this program"
    )


@pytest.mark.usefixtures("folder")
def test_a_mount_that_is_not_there_is_told() -> None:
    (fault,) = faults(shipped(**{'"~/receipt-orchestrator": "."': '"~/x": "./none"'}))
    assert fault.startswith("file_mounts: there is no ./none, to be sent as ~/x; give a path")


@pytest.mark.usefixtures("folder")
def test_another_version_of_ray_is_told_with_both() -> None:
    (fault,) = faults(shipped(**{f"=={ray.__version__}": "==1.2.3"}))
    assert fault.startswith(
        f"setup_commands: machines install Ray 1.2.3, and here is {ray.__version__}"
    )
    assert 'pip install "ray[default]==1.2.3" here' in fault


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"max_workers": "many"}, "max_workers: 'many' is not of type 'integer'"),
        ({"setup_comands": []}, "the file: Additional properties are not allowed"),
        ({"head_node_type": "none"}, "head_node_type"),
        ({"provider": {"type": "mars"}}, "mars"),
        ({"available_node_types": 3}, ""),
        ({"provider": None}, ""),
    ],
)
def test_what_ray_would_not_take_is_one_message(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    path = tmp_path / "cluster.yaml"
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(config | change), encoding="utf-8")
    with pytest.raises(InputError) as error:
        cluster_file.read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert told in str(error.value)


def test_a_file_that_is_no_mapping_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    for text in ("", "- a", "{"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"cluster\.yaml"):
            cluster_file.read(path)
