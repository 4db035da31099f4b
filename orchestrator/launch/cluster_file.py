"""A cluster file, read and looked at as far as that needs no cloud.

`ray up` starts the head before it reads what it sends there, so a token that is missing, a folder
of the wrong place or an id that nobody filled in shows when a machine runs already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from detector.config.cli import yaml_mapping, yaml_text
from detector.core.errors import InputError

PLACEHOLDERS = {  # of the shipped files, and what to put there
    "fs-00000000000000000": "the id of your EFS file system",
    "ssh_user: you": "the user that your key lets in",
}
TOKEN = "~/.ray/auth_token"
_INSTALLED_RAY = re.compile(r"\bray(?:\[[^\]]*\])?==([\w.]+)")
_INSTALLED_FOLDER = re.compile(r"pip3? install [^&|;]*?-e (\S+)")


def read(path: Path) -> dict[str, Any]:
    """The file with Ray's defaults filled in; InputError when Ray would not take it."""
    config = yaml_mapping(yaml_text(path), path)
    try:
        whole: dict[str, Any] = prepare_config(config)
        validate_config(whole)
    except ValidationError as error:
        where = ".".join(map(str, error.absolute_path)) or "the file"
        raise InputError(f"{path}: {where}: {error.message}; see Ray's cluster YAML") from None
    except (AttributeError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise InputError(f"{path}: Ray cannot read it: {error or type(error).__name__}") from None
    return whole


def faults(path: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a file that `read` took, a line each."""
    yield from _placeholders(path)
    yield from _mounts(config)
    yield from _versions(config)
    key = config.get("auth", {}).get("ssh_private_key")
    if key and not Path(key).expanduser().is_file():
        yield f"auth.ssh_private_key: there is no {key}; give the key that lets you in"


def commands(config: Mapping[str, Any]) -> list[str]:
    """All that is run on a machine before Ray is started there."""
    names = ("initialization_commands", "head_setup_commands", "worker_setup_commands")
    return [command for name in names for command in config.get(name) or []]


def _placeholders(path: Path) -> Iterator[str]:
    for number, line in enumerate(yaml_text(path).splitlines(), 1):
        for text, meaning in PLACEHOLDERS.items():
            if text in line.partition("#")[0]:
                yield f"{path}:{number}: {text} stands for {meaning}; put yours there"


def _mounts(config: Mapping[str, Any]) -> Iterator[str]:
    """What is sent to each machine."""
    installed = {name for text in commands(config) for name in _INSTALLED_FOLDER.findall(text)}
    for there, here in (config.get("file_mounts") or {}).items():
        path = Path(here).expanduser()
        if not path.exists():
            yield f"file_mounts: there is no {here}, to be sent as {there}; {_remedy(there)}"
        elif there == TOKEN and not path.read_text(encoding="utf-8", errors="replace").strip():
            yield f"file_mounts: {here} is empty; {_remedy(there)}"
        elif there in installed and not (path / "pyproject.toml").is_file():
            yield (
                f"file_mounts: {path.absolute()} is sent as {there} to be installed, and holds no "
                "pyproject.toml; run `ray up`, and this, in the folder of this program"
            )


def _remedy(there: str) -> str:
    if there == TOKEN:
        return f"make it: ray get-auth-token --generate >/dev/null && chmod 600 {TOKEN}"
    return "give a path that exists, relative to the folder in which `ray up` is run"


def _versions(config: Mapping[str, Any]) -> Iterator[str]:
    found = {v for text in commands(config) for v in _INSTALLED_RAY.findall(text)}
    for version in sorted(found - {ray.__version__}):
        yield (
            f"setup_commands: machines install Ray {version}, and here is {ray.__version__}, so "
            f'`ray up` speaks another version; pip install "ray[default]=={version}" here, or '
            "change the file"
        )
