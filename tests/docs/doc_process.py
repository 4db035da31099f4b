"""The process that runs documented commands, one after another, with the imports made once.

`python doc_process.py` reads a JSON object a line from stdin and answers each with one:

    {"do": "run", "module": …, "arguments": […], "folder": …, "variables": {…}, "log": …}
        runs `python -m module arguments` in the folder; what it prints is in the file `log`.
        Answers {"code": …}.
    {"do": "check", "module": … or "script": …, "arguments": […], "folder": …}
        reads the arguments as the command would, and starts nothing. Answers {"fault": …}.
    {"do": "keys", "module": … or "script": …}
        answers {"keys": […]}, the names of what the command takes.
    {"do": "ray", "address": …}
        connects to a Ray for all searches that follow. Answers {}.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

CRASHED = 99
SEARCHES = ("orchestrator.search", "orchestrator.preflight")  # they take the same


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a command as `python -m` does, and give its exit code."""
    with _writing_to(Path(request["log"])), _standing_in(request):
        try:
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            code = CRASHED
        sys.stdout.flush()
        sys.stderr.flush()
    return {"code": code}


def check(request: Mapping[str, Any]) -> dict[str, Any]:
    """Read arguments as their command does: unknown keys and wrong values are the fault."""
    from detector.config.answer import split_off
    from detector.core.errors import InputError

    own, _ = split_off(request["arguments"])
    with _standing_in(request):
        try:
            if request.get("module") in SEARCHES:
                _check_search(own, gpu=request["gpu"])
            else:
                _check_settings(request, own)
        except InputError as error:
            return {"fault": str(error)}
    return {"fault": None}


def _check_search(arguments: Sequence[str], *, gpu: bool) -> None:
    from orchestrator.run.command_line import parse_arguments
    from orchestrator.space.search_space import load_space

    config, overrides = parse_arguments(arguments)
    if not config.resume:  # a stored space is read when the run is resumed
        load_space(
            config.space,
            gpu=gpu,
            overrides=overrides,
            budget=config.budget,
            narrow=config.search.narrow,
        )


def _check_settings(request: Mapping[str, Any], arguments: Sequence[str]) -> None:
    """Build the settings of a detector command, or the options of a benchmark."""
    from detector.config.cli import _with_file, build

    settings = _what_is_run(request)
    if isinstance(settings, dict):
        import timing

        timing.options(arguments, settings)
    else:
        build(settings, _with_file(settings, arguments))


def keys(request: Mapping[str, Any]) -> dict[str, Any]:
    """All dotted keys that a command takes, short forms included."""
    from detector.config.sections import field_names

    if request.get("module") in SEARCHES:
        from orchestrator.run.command_line import SearchArguments

        return {"keys": field_names(SearchArguments)}
    settings = _what_is_run(request)
    if isinstance(settings, dict):
        return {"keys": list(settings)}
    aliases = [info.alias for info in settings.model_fields.values() if info.alias]
    return {"keys": [*field_names(settings), *aliases]}


def _what_is_run(request: Mapping[str, Any]) -> Any:
    """The settings that a module hands to `detector.config.cli.run`, or a benchmark's defaults."""
    taken: list[Any] = []

    def take(_main: Any, settings: Any, *_: Any, **__: Any) -> None:
        taken.append(settings)

    if "script" in request:
        script = Path(request["script"]).resolve()
        sys.path.insert(0, str(script.parent))
        import timing

        with mock.patch.object(timing, "run", take):
            runpy.run_path(str(script), run_name="__main__")
        sys.path.remove(str(script.parent))
    else:
        with mock.patch("detector.config.cli.run", take):
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    (settings,) = taken
    return settings


def join_ray(request: Mapping[str, Any]) -> dict[str, Any]:
    """Connect to the Ray that all searches share, until the process ends."""
    from orchestrator.place.cluster import connected
    from orchestrator.place.resources import Machine

    with mock.patch.dict(os.environ, {"RAY_ADDRESS": request["address"]}):
        _held.enter_context(connected(Machine(cpus=2, gpus=1)))
    return {}


_held = contextlib.ExitStack()


@contextlib.contextmanager
def _standing_in(request: Mapping[str, Any]) -> Iterator[None]:
    """The command's folder, arguments and variables, for the block."""
    before, argv = Path.cwd(), sys.argv
    arguments = [request.get("module") or request.get("script"), *request.get("arguments", [])]
    with mock.patch.dict(os.environ, request.get("variables", {})):
        os.chdir(request.get("folder", "."))
        sys.argv = arguments
        try:
            yield
        finally:
            sys.argv = argv
            os.chdir(before)


@contextlib.contextmanager
def _writing_to(log: Path) -> Iterator[None]:
    """Both outputs, those of other processes and of C code too, in a file for the block."""
    kept = os.dup(1), os.dup(2)
    with log.open("w") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            for number, before in enumerate(kept, 1):
                os.dup2(before, number)
                os.close(before)


DO = {"run": run, "check": check, "keys": keys, "ray": join_ray}


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints must not look like an answer
    with _held:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = DO[request["do"]](request)
            except Exception:
                answer = {"crash": traceback.format_exc()}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
