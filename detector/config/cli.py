"""`key=value` commands: parsing, `--help` made from the settings, errors as one message.

A command is a settings class and a function; `run` does the rest. Exit codes: 0 done,
1 the job failed, 2 the input was wrong, 130 interrupted. With --json its answer is one JSON
document, see `detector.config.answer`.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

from pydantic import BaseModel, ValidationError

from detector.config.answer import answer_error, as_json, collected, split_off
from detector.config.help import help_text
from detector.config.sections import describe_faults, flatten, nest
from detector.core.device_errors import is_out_of_memory, out_of_memory_text
from detector.core.errors import InputError, JobError
from detector.core.escape import printable_lines, shown
from detector.core.files import expand_home
from detector.core.plain import YAML_BYTES, parse_yaml, read_bounded

Settings = TypeVar("Settings", bound=BaseModel)


def log(message: str) -> None:
    """Print a line to stderr, so that stdout stays free for a command's result.

    Control characters are escaped, since messages name files that others have named.
    """
    print(printable_lines(message), file=sys.stderr, flush=True)


def parse_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """`["a.b=1", "c=[1, 2]"]` as `{"a.b": "1", "c": [1, 2]}`.

    Values stay text (the settings class converts them) except `null` and the bracketed
    lists and mappings, which are YAML. Raises InputError for anything not `key=value` and
    for a key given twice.
    """
    values: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not key or key.startswith("-"):
            raise InputError(
                f"{argument!r}: arguments are key=value (see --help), for example seed=1"
            )
        if key in values:
            raise InputError(f"{key}: given twice; keep one of them")
        if key == "json":
            raise InputError(f"json: must be true or false, got {shown(text)}")
        values[key] = _value(key, text)
    return values


def _value(key: str, text: str) -> Any:
    if text == "null":
        return None
    if text[:1] not in ("[", "{"):
        return text
    return parse_yaml(text, f"{key}: {shown(text)}", lines=False)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file of plain values, at most YAML_BYTES long.

    InputError names file and line when it is not one.
    """
    return yaml_mapping(yaml_text(path), path)


def yaml_text(path: Path) -> str:
    """What a YAML file holds, of at most YAML_BYTES; InputError when it cannot be read."""
    try:
        return read_bounded(path, YAML_BYTES).decode()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid YAML: {error.reason}; save it as UTF-8") from None


def yaml_mapping(text: str, path: Path) -> dict[str, Any]:
    """The mapping that a YAML text of this file stands for; InputError when it is none."""
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold `key: value` lines, got {type(content).__name__}")
    return content


def build(settings: type[Settings], values: dict[str, Any]) -> Settings:
    """Settings from dotted values, checked whole; InputError lists every fault on a line."""
    try:
        return settings.model_validate(nest(values))
    except ValidationError as error:
        raise InputError("\n".join(describe_faults(error, settings))) from None


def run(
    main: Callable[[Settings], int | None],
    settings: type[Settings],
    *,
    program: str,
    description: str,
    arguments: Sequence[str] | None = None,
) -> NoReturn:
    """Run a command and exit with its code; a user's mistake never prints a traceback.

    When the settings have a `config` field, the YAML file it names gives the values that
    the command line does not.
    """
    run_with_arguments(
        lambda own: main(build(settings, _with_file(settings, own))),
        settings,
        program=program,
        description=description,
        arguments=arguments,
    )


def run_with_arguments(
    job: Callable[[list[str]], int | None],
    settings: type[BaseModel],
    *,
    program: str,
    description: str,
    arguments: Sequence[str] | None = None,
) -> NoReturn:
    """`run` of a command that reads its arguments itself; `settings` are all keys that it takes."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if wants_help(arguments):
        text = help_text(settings, program=program, description=description)
        raise SystemExit(guarded(lambda: print(text)))
    raise SystemExit(answered(job, arguments))


def answered(job: Callable[[list[str]], int | None], arguments: Sequence[str]) -> int:
    """The exit code of a job with its arguments; where these ask for JSON, it is printed."""
    own, wants_json = split_off(arguments)
    if not wants_json:
        return guarded(lambda: job(own))
    with collected() as document:
        try:
            code = guarded(lambda: job(own))
        except Exception as bug:
            traceback.print_exc()
            code = 1
            answer_error("bug", f"{type(bug).__name__}: {bug}", code)
    return guarded(lambda: print(as_json(document))) or code


def _print_anything(stream: TextIO) -> None:
    r"""Let a terminal or file that is not UTF-8 show `\u2026` for what it cannot, and not fail."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def wants_help(arguments: Sequence[str]) -> bool:
    """Whether the user asks what the command takes."""
    return any(a in ("-h", "--help", "help") for a in arguments)


def _with_file(settings: type[BaseModel], arguments: Sequence[str]) -> dict[str, Any]:
    values = parse_arguments(arguments)
    if "config" in settings.model_fields and values.get("config"):
        values = flatten(read_yaml(expand_home(values["config"]))) | values
    return values


def guarded(job: Callable[[], int | None]) -> int:
    """The exit code of `job`, its known failures printed to stderr as messages, and answered."""
    for stream in (sys.stdout, sys.stderr):
        _print_anything(stream)
    try:
        code = job() or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if (known := _known(error)) is None:
            raise
        kind, message, code = known
    log(f"{_WORDS[kind]}{message}")
    answer_error(kind, message, code)
    return code


_WORDS = {"input": "error: ", "job": "failed: ", "interrupted": ""}


def _known(error: BaseException) -> tuple[str, str, int] | None:
    """Kind, message and exit code of a failure that is no bug; None for one that is."""
    if isinstance(error, InputError):
        return "input", str(error), 2
    if isinstance(error, JobError):
        return "job", str(error), 1
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", "interrupted", 130
    if isinstance(error, OSError) and error.errno is not None:
        return "job", f"{error.filename or 'a file'}: {error.strerror}", 1
    if isinstance(error, RuntimeError | MemoryError) and is_out_of_memory(error):
        return "job", out_of_memory_text(error), 1
    return None
