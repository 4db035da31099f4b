"""What the shell makes of a documented command: the calls of programs, none of which is run."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

# Every program goes to the handler, since PATH has none. It writes the arguments, then the
# variables that were set in front of them, each ended by a NUL; an empty line ends the call.
_HANDLER = """
command_not_found_handle() {
  printf '%s\\0' "$@" >> "$CALLS"
  for name in $(compgen -e); do
    case $name in
      CALLS|PWD|OLDPWD|SHLVL|_|PATH) ;;
      *) printf '%s\\0' "$name=${!name}" >> "$CALLS.env" ;;
    esac
  done
  printf '\\n\\0' >> "$CALLS"
  printf '\\n\\0' >> "$CALLS.env"
}
"""
_WRAPPERS = ("nohup", "time", "nice")


@dataclass(frozen=True)
class Call:
    """A program, its arguments and the variables in front of it."""

    program: str
    arguments: tuple[str, ...]
    variables: tuple[str, ...] = ()

    @property
    def plain(self) -> str:
        """The call without its variables."""
        return " ".join((self.program, *self.arguments))

    def __str__(self) -> str:
        return " ".join((*self.variables, self.plain))


def calls(text: str, folder: Path) -> list[Call]:
    """The calls that bash would make for `text`, with loops, quotes and patterns expanded.

    `folder` is a folder of its own to work in. AssertionError when bash does not take the text.
    """
    record = folder / "calls"
    text = text.replace(".venv/bin/", "")  # a handler is asked for names only, not for paths
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", _HANDLER + text],
        cwd=folder,
        env={"CALLS": str(record), "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"bash does not take this command: {done.stderr}"
    assert record.is_file(), "bash calls no program in this command"
    with_variables = zip(_read(record), _read(folder / "calls.env"), strict=True)
    return [_call(words, tuple(variables)) for words, variables in with_variables]


def _call(words: list[str], variables: tuple[str, ...]) -> Call:
    while words[0] in _WRAPPERS:
        words = words[1:]
    return Call(words[0], tuple(words[1:]), variables)


def _read(path: Path) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for word in path.read_text(encoding="utf-8").split("\0")[:-1]:
        if word == "\n":
            found.append([])
        else:
            found[-1].append(word)
    return found[:-1]
