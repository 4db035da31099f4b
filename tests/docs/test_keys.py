"""Settings that the documentation speaks of exist: `key=value` in inline code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doc_markdown import ROOT, inline_code, is_command, markdown_files, split_fences
from doc_workspace import CommandProcess

MODULES = sorted(
    f"{path.parent.name}.{path.stem}"
    for folder in ("detector", "orchestrator")
    for path in (ROOT / folder).glob("*.py")
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
)
# What a command spells out, arguments in Python, and the way in which all are given.
OTHERS = {"postprocess", "blank", "key", "weights_only", "json"}
_SETTING = re.compile(r"([a-z_][\w.]*)=\S+")


@pytest.fixture(scope="module")
def keys(command_process: CommandProcess) -> set[str]:
    """What the commands and the benchmarks take, all together."""
    found = set()
    for module in MODULES:
        found |= set(command_process.ask("keys", module=module)["keys"])
    for script in sorted((ROOT / "benchmarks").glob("*.py")):
        if "DEFAULTS = {" in script.read_text(encoding="utf-8"):
            found |= set(command_process.ask("keys", script=str(script))["keys"])
    return found


@pytest.mark.timeout(600)  # the first one waits for the imports
@pytest.mark.parametrize("page", markdown_files(), ids=lambda p: p.name)
def test_settings_on_a_page_exist(page: Path, keys: set[str]) -> None:
    outside, _ = split_fences(page.read_text(encoding="utf-8"))
    wrong = []
    for line, code in inline_code(outside):
        if is_command(code):
            continue
        words = code.split()
        settings = [_SETTING.fullmatch(word) for word in words]
        if not all(settings):
            continue
        for setting in settings:
            assert setting is not None
            key = setting[1].removeprefix("search.narrow.")
            if key not in keys and key not in OTHERS:
                wrong.append(f"{page.name}:{line}: {code}")
    assert not wrong, "no command takes these settings:\n" + "\n".join(wrong)
