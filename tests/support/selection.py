"""Which tests run: the quick ones by default, all with `--all`, and all of a path that is named.

Tests that take long carry a marker of `LONG`. They are left out unless the command line says
what to run, and the last lines count them. Tests run side by side, a file in one process. Files
with a Ray are all in one, since two on the same cores hinder each other, but for documented
commands: they are only waited for.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import examples
import pytest
from xdist.scheduler import LoadScopeScheduling

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: one thread in each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

LONG = {
    "slow": "takes more than about eight seconds",
    "faults": "kills searches, fills disks, breaks databases",
    "cluster": "makes machines of namespaces and starts a cluster on them",
    "docs": "runs the commands of the documentation and builds its site",
    "browser": "opens pages in Chromium",
}
RAY = "ray: starts a Ray of its own, so it runs beside no test with one but documented commands"
# Where tests are dealt out, only their files are known. Documented commands are not among them.
_RAY_USED = re.compile(r"\bray_cluster\b|\bmark\.(ray|faults|cluster)\b")
_LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    text = f"run the long tests too: {', '.join(LONG)}"
    parser.addoption("--all", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    for marker in (*(f"{name}: {text}" for name, text in LONG.items()), RAY):
        config.addinivalue_line("markers", marker)
    config.stash[_LEFT_OUT] = Counter()
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    config.option.all |= named or bool(config.option.markexpr or config.option.keyword)
    examples.load("thorough" if config.option.all else "quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long."""
    chosen, left = [], []
    for item in items:
        (chosen if config.option.all or not _long(item) else left).append(item)
    if left:
        config.stash[_LEFT_OUT].update(_long(item)[0] for item in left)
        config.hook.pytest_deselected(items=left)
        items[:] = chosen


def _long(item: pytest.Item) -> list[str]:
    return [name for name in LONG if item.get_closest_marker(name)]


class ByFile(LoadScopeScheduling):
    """A file is run by one process, and so are all with a Ray but documented commands."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "ray" if _has_ray(self.config.rootpath / file) else file


@cache
def _has_ray(file: Path) -> bool:
    return _RAY_USED.search(file.read_text(encoding="utf-8")) is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(session.config.stash[_LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """All workers collect the same tests, so the counts of one are those of all."""
    node.config.stash[_LEFT_OUT] = Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in left_out(config.stash[_LEFT_OUT]):
        terminalreporter.write_line(line)


def left_out(counts: Counter[str]) -> Iterator[str]:
    """What was left out, by marker, and the commands that run it; nothing when nothing was."""
    if counts:
        several = ", ".join(f"{counts[name]} {name}" for name in LONG if counts[name])
        yield f"left out, since they take long: {several}"
        yield "run everything with `python -m pytest --all`, one kind with `-m NAME`"
