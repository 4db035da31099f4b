"""The tests' own modules, and one workspace and one process for all documented commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doc_workspace import CommandProcess, copied, make_workspace


@pytest.fixture(scope="session")
def command_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandProcess]:
    """The process in which all documented commands run."""
    process = CommandProcess(tmp_path_factory.mktemp("process") / "stderr")
    yield process
    process.close()


@pytest.fixture(scope="session")
def ray_address(ray_cluster: Any, command_process: CommandProcess) -> str:
    """Where the Ray is that the documented searches share."""
    import ray

    assert ray_cluster
    address: str = ray.get_runtime_context().gcs_address
    command_process.ask("ray", address=address)
    return address


@pytest.fixture(scope="session")
def workspace(
    tmp_path_factory: pytest.TempPathFactory, command_process: CommandProcess, ray_address: str
) -> Path:
    """The folder of a user with receipts and runs; tests work in copies of it."""
    return make_workspace(tmp_path_factory.mktemp("user"), command_process, ray_address)


@pytest.fixture
def own_workspace(workspace: Path, tmp_path: Path) -> Path:
    """A copy of the workspace for one test."""
    return copied(workspace, tmp_path / "user")
