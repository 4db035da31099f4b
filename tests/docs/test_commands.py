"""Every command in the documentation is run, small, or stands in a list with the reason why not."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from doc_markdown import ROOT, Command, commands, markdown_files
from doc_rules import NEEDED, NOT_RUN, NoExampleError, filled, made_small, needs_gpu
from doc_shell import Call, calls
from doc_workspace import CommandProcess

JOINING = ("orchestrator.search", "orchestrator.pages", "orchestrator.folds")  # a Ray cluster
WHAT_TO_DO = (
    "no rule of tests/docs/doc_rules.py covers this command: `python -m` of this repository's "
    "modules is run and benchmarks are checked by themselves; if this one cannot be run in a "
    "test, add it to NOT_RUN with the reason and the test that runs it"
)
FOUND = [command for path in markdown_files() for command in commands(path)]
PLACES: dict[Command, list[str]] = {}
for _command in FOUND:
    PLACES.setdefault(_command, []).append(_command.place)

# The first one waits for the workspace and for Ray.
pytestmark = [pytest.mark.docs, pytest.mark.timeout(1200)]


def whole(command: Command) -> str | None:
    """The command with its placeholders filled in; None for inline code that is no whole one."""
    try:
        return filled(command.text)
    except NoExampleError:
        if command.fenced:
            raise
        return None


@pytest.mark.parametrize("command", PLACES, ids=lambda c: f"{c.place} {c.text[:80]}")
def test_a_documented_command_works(
    command: Command, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    text = whole(command)
    if text is None:
        return
    if not command.fenced and re.fullmatch(r"python -m \S+", text):
        text += " --help"  # inline, it names the program
    (tmp_path / "shell").mkdir()
    kinds = [_kind(call) for call in calls(text, tmp_path / "shell")]
    if set(kinds) == {"not run"}:
        return
    folder = request.getfixturevalue("own_workspace")
    for call in calls(text, folder):  # patterns such as `*` name what is there
        if (kind := _kind(call)) != "not run":
            DONE[kind](call, folder, request)


def _kind(call: Call) -> str:
    """What is done with a call, a key of DONE or `not run`; the test fails without a rule.

    Of a call that is not run, what can be checked is.
    """
    first, second, *_ = (*call.arguments, "", "")
    ours = first == "-m" and second.startswith(("detector.", "orchestrator."))
    is_python = call.program in ("python", "python3")
    if any(re.match(rule.pattern, call.plain) for rule in NOT_RUN):
        _check_what_is_there(call)
        return "read" if is_python and ours else "not run"
    if is_python and ours:
        return "run"
    if is_python and first.startswith("benchmarks/"):
        return "benchmark"
    pytest.fail(f"{call}\n{WHAT_TO_DO}", pytrace=False)


def _check_what_is_there(call: Call) -> None:
    """The extras and the files that a call names."""
    if call.program == "pip":
        _check_extras(call)
    for word in call.arguments:
        if word.startswith(("tests/", "docs/", "benchmarks/", "cluster")):
            assert (ROOT / word.partition("::")[0]).exists(), f"{call}: there is no {word}"


def _check_extras(call: Call) -> None:
    """The extras of this package that a `pip install` names are in pyproject.toml."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = re.findall(r"^([\w-]+) = ", section, re.MULTILINE)
    for wanted in re.findall(r"\.\[([\w,-]+)\]", str(call)):
        unknown = set(wanted.split(",")) - set(extras)
        assert not unknown, f"{call}: pyproject.toml has the extras {', '.join(extras)}"


def _check_benchmark(call: Call, folder: Path, request: pytest.FixtureRequest) -> None:
    """Benchmarks take minutes to hours; that their options exist is checked."""
    process: CommandProcess = request.getfixturevalue("searching_process")
    script, *arguments = call.arguments
    assert (ROOT / script).is_file(), f"{call}: there is no {script}"
    answer = process.ask("check", script=script, arguments=arguments, folder=folder)
    assert answer["fault"] is None, f"{call}: {answer['fault']}"


def _read(call: Call, folder: Path, request: pytest.FixtureRequest) -> None:
    """Read the arguments as they are written; nothing is started."""
    process: CommandProcess = request.getfixturevalue("searching_process")
    _, module, *arguments = call.arguments
    for pattern, (package, extra) in NEEDED.items():
        if re.search(pattern, str(call)) and find_spec(package) is None:
            pytest.skip(f"{package} is not installed (pip install -e '.[{extra}]')")
    if "--help" not in arguments:
        answer = process.ask(
            "check",
            module=module,
            arguments=arguments,
            folder=folder,
            gpu=needs_gpu(arguments),
        )
        assert answer["fault"] is None, f"{call}\n{answer['fault']}"


def _run(call: Call, folder: Path, request: pytest.FixtureRequest) -> None:
    """Read the arguments as they are written, then run the command with small ones."""
    _read(call, folder, request)
    process: CommandProcess = request.getfixturevalue("searching_process")
    _, module, *arguments = call.arguments
    _make_room(module, arguments, folder)
    joins = module in JOINING and not (
        {"dry_run=true", "resources.gpu=auto", "--help"} & set(arguments)
    )
    variables = dict(variable.split("=", 1) for variable in call.variables)
    if joins:
        variables["RAY_ADDRESS"] = request.getfixturevalue("ray_address")
    small = made_small(module, arguments)
    code, output = process.run(module, small, folder, **variables)
    assert code == 0, f"{call}\nrun as: python -m {module} {' '.join(small)}\n{output}"


DONE = {"benchmark": _check_benchmark, "read": _read, "run": _run}


def _make_room(module: str, arguments: list[str], folder: Path) -> None:
    """Remove the run or the training that a command is to make anew."""
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if given.get("resume") == "true":
        return
    if module == "orchestrator.search" and "name" in given and "dry_run" not in given:
        shutil.rmtree(folder / given.get("runs_dir", "runs") / given["name"], ignore_errors=True)
    if module == "detector.train" and "output" in given:
        shutil.rmtree(folder / given["output"], ignore_errors=True)


def test_there_are_commands_and_rules_say_why_some_are_not_run() -> None:
    assert len(PLACES) > 40
    for rule in NOT_RUN:
        assert rule.reason
        assert rule.elsewhere is None or (ROOT / rule.elsewhere).exists(), rule


@pytest.mark.parametrize("page", sorted(ROOT.glob("README.*.md")), ids=lambda p: p.name)
def test_a_translated_readme_has_the_same_commands(page: Path) -> None:
    original, translated = commands(ROOT / "README.md"), commands(page)
    assert [c.text for c in translated if c.fenced] == [c.text for c in original if c.fenced]
    assert Counter(c.text for c in translated) == Counter(c.text for c in original)
