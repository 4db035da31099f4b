"""The tests' own modules, and one workspace and one process for all documented commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doc_workspace import CommandProcess, copied, make_workspace


@pytest.fixture(scope="session")
def command_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandProcess]:
    """The process in which documented commands are read and run."""
    process = CommandProcess(tmp_path_factory.mktemp("process") / "stderr")
    yield process
    process.close()


@pytest.fixture(scope="session")
def searching_process(
    ray_cluster: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CommandProcess]:
    """A process like that for commands that search: begun after the Ray that they share, whose
    token and mode it has from the environment."""
    assert ray_cluster
    process = CommandProcess(tmp_path_factory.mktemp("searching") / "stderr")
    yield process
    process.close()


@pytest.fixture(scope="session")
def ray_address(searching_process: CommandProcess) -> str:
    """Where the Ray is that the documented searches share."""
    import ray

    address: str = ray.get_runtime_context().gcs_address
    searching_process.ask("ray", address=address)
    return address


@pytest.fixture(scope="session")
def workspace(
    tmp_path_factory: pytest.TempPathFactory, searching_process: CommandProcess, ray_address: str
) -> Path:
    """The folder of a user with receipts and runs; tests work in copies of it."""
    return make_workspace(tmp_path_factory.mktemp("user"), searching_process, ray_address)


@pytest.fixture
def own_workspace(workspace: Path, tmp_path: Path) -> Path:
    """A copy of the workspace for one test."""
    return copied(workspace, tmp_path / "user")
