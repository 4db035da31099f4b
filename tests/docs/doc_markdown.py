"""What the tests read out of a Markdown file: commands, code, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELL, CONSOLE = "sh", "console"
# First words of inline code that make it a command rather than a name.
PROGRAMS = frozenset(
    (
        *("python", "python3", "pip", "pytest", "ruff", "mypy", "mkdocs", ".ci/run"),
        *("ray", "tensorboard", "optuna-dashboard", "mlflow", "wandb"),
        *("aws", "ssh", "scp", "rsync", "docker", "kubectl", "sbatch", "psql"),
        *("bash", "chromium", "curl", "git", "nohup"),
    )
)
_FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*(\S*)")
_CODE = re.compile(r"(?<!`)`(?!`)((?:[^`\n]|\n(?!\s*\n))+)`(?!`)")
_LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_HTML_LINK = re.compile(r"<(?:img|a|source)\b[^>]*?\b(?:src|href|srcset)=\"([^\"]+)\"")


@dataclass(frozen=True)
class Fence:
    """A fenced block: its language ("" without one), the line of its fence and its lines."""

    language: str
    line: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """One command as a page has it, with `\\` continuations joined."""

    text: str
    place: str = field(compare=False)  # FILE:LINE
    fenced: bool = field(compare=False, default=True)


def markdown_files(root: Path = ROOT) -> list[Path]:
    """The pages that people read: README*.md, CONTRIBUTING.md and docs/**/*.md."""
    top = [*root.glob("README*.md"), *root.glob("CONTRIBUTING*.md")]
    return sorted(top) + sorted((root / "docs").rglob("*.md"))


def split_fences(text: str) -> tuple[str, list[Fence]]:
    """The text with its fenced blocks blanked (lines keep their numbers), and the blocks."""
    outside: list[str] = []
    fences: list[Fence] = []
    opened: re.Match[str] | None = None
    start = 0
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        mark = _FENCE.match(line)
        if opened is None and mark is None:
            outside.append(line)
            continue
        outside.append("")
        if opened is None:
            opened, start, inside = mark, number, []
        elif mark and mark[2].startswith(opened[2]) and not mark[3]:
            fences.append(Fence(opened[3], start, tuple(inside)))
            opened = None
        else:
            indent = len(opened[1])
            inside.append(line[indent:] if not line[:indent].strip() else line)
    if opened is not None:
        raise ValueError(f"line {start}: a fenced block is not closed")
    return "\n".join(outside) + "\n", fences


def commands(path: Path, root: Path = ROOT) -> list[Command]:
    """All commands of a page: of its sh and console blocks, and inline code that is one."""
    outside, fences = split_fences(path.read_text(encoding="utf-8"))
    name = path.relative_to(root).as_posix()
    found = [
        Command(text, f"{name}:{line}") for fence in fences for line, text in fence_commands(fence)
    ]
    found += [
        Command(text, f"{name}:{line}", fenced=False)
        for line, text in inline_code(outside)
        if is_command(text)
    ]
    return found


def is_command(code: str) -> bool:
    """Whether inline code is a command: a program and what it is given."""
    program, _, rest = code.partition(" ")
    if re.match(r"[A-Z_]+=\S", program):  # RAY_ADDRESS=auto python ...
        return is_command(rest)
    return bool(rest) and (program in PROGRAMS or program.startswith(".venv/bin/"))


def fence_commands(fence: Fence) -> Iterator[tuple[int, str]]:
    """(line, text) of the commands of a block; none for other languages than sh and console."""
    if fence.language not in (SHELL, CONSOLE):
        return
    parts: list[str] = []
    start = 0
    for number, line in enumerate(fence.lines, fence.line + 1):
        if not parts:
            if fence.language == CONSOLE and not line.startswith("$ "):
                continue  # output
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            start = number
        parts.append(line.removeprefix("$ ") if fence.language == CONSOLE else line)
        if not _goes_on(parts):
            yield start, _joined(parts)
            parts = []
    if parts:
        raise ValueError(f"line {start}: the block ends within a command")


def _goes_on(parts: list[str]) -> bool:
    """Whether a command has more lines: after `\\`, or up to the `done` of a loop."""
    text = "\n".join(parts)
    loops = len(re.findall(r"(?:^|;|\n|\bdo)\s*(?:for|while)\b", text))
    return parts[-1].endswith("\\") or loops > len(re.findall(r"(?:^|;|\n)\s*done\b", text))


def _joined(parts: list[str]) -> str:
    return re.sub(r"\\\n\s*", "", "\n".join(line.strip() for line in parts))


def inline_code(outside: str) -> Iterator[tuple[int, str]]:
    """(line, code) of inline code, white space as one space, in text without fenced blocks."""
    for found in _CODE.finditer(outside):
        yield outside.count("\n", 0, found.start()) + 1, " ".join(found[1].split())


def links(outside: str) -> Iterator[tuple[int, str]]:
    """(line, target) of links and pictures, in text without fenced blocks."""
    plain = _CODE.sub(lambda code: re.sub(r"[^\n\]]", " ", code[0]), outside)
    for pattern in (_LINK, _HTML_LINK):
        for found in pattern.finditer(plain):
            yield plain.count("\n", 0, found.start(1)) + 1, found[1]


def anchors(outside: str) -> set[str]:
    """The names that links with `#` can lead to, as GitHub makes them from the headings."""
    found: set[str] = set(re.findall(r"<a\s+(?:id|name)=\"([^\"]+)\"", outside))
    for title in re.findall(r"^#{1,6}\s+(.*?)\s*#*$", outside, re.MULTILINE):
        slug, base, repeated = github_slug(title), github_slug(title), 0
        while slug in found:
            repeated += 1
            slug = f"{base}-{repeated}"
        found.add(slug)
    return found


def github_slug(title: str) -> str:
    """A heading's anchor: links as their text, lower case, without punctuation, spaces as `-`."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
