"""MkDocs: links that lead out of docs/, which work on GitHub, work in the site too.

A file outside docs/ that a page links to becomes a page that shows it, so the site needs no
network and no address of the repository. README.md and CONTRIBUTING.md are pages of its own. A
linked folder has no page: its link becomes its text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[2]
DOCS = PurePosixPath("docs")
PAGES = {
    name: f"{Path(name).stem.lower()}.md"
    for name in ("README.md", "README.ko.md", "CONTRIBUTING.md")
    if (ROOT / name).is_file()
}
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sh": "sh"}
_FENCE = re.compile(r"(^ *(`{3,}|~{3,}).*?^ *\2[`~]*[ \t]*$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\]\[]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages made of files outside docs/."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        text = _with_links(text, PurePosixPath(name), PurePosixPath(page))
        files.append(File.generated(config, page, content=text))
    for path in _linked_sources():
        files.append(
            File.generated(
                config, _page_of(path), content=_shown(path), inclusion=InclusionLevel.NOT_IN_NAV
            )
        )
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Lead the links of a page to where their targets are in the site."""
    if page.file.generated_by:
        return markdown
    here = PurePosixPath(page.file.src_uri)
    return _with_links(markdown, DOCS / here, here)


def _linked_sources() -> list[str]:
    """Paths of the files outside docs/ that some page links to, but for the pages of PAGES."""
    found = set()
    for path in [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / name for name in PAGES)]:
        place = PurePosixPath(path.relative_to(ROOT).as_posix())
        for link in _LINK.finditer(_FENCE.sub("", path.read_text(encoding="utf-8"))):
            target = _target(place, link[3])
            if target is None or target.startswith("docs/") or target in PAGES:
                continue
            if (ROOT / target).is_file():
                found.add(target)
    return sorted(found)


def _target(place: PurePosixPath, link: str) -> str | None:
    """The path in the repository that a link of the file at `place` leads to."""
    if re.match(r"[a-z]+:|/", link):
        return None
    return os.path.normpath(place.parent / link)


def _with_links(text: str, place: PurePosixPath, page: PurePosixPath) -> str:
    """`text` of the file at `place` in the repository as that of `page` in the site."""

    def lead(link: re.Match[str]) -> str:
        mark, label, path, anchor = link[1], link[2], link[3], link[4] or ""
        target = _target(place, path)
        if target is None:
            return link[0]
        if (ROOT / target).is_dir():
            return label
        if target in PAGES:
            goal = PAGES[target]
        elif target.startswith("docs/"):
            goal = target.removeprefix("docs/")
        else:
            goal, anchor = _page_of(target), ""
        return f"{mark}[{label}]({os.path.relpath(goal, page.parent)}{anchor})"

    def outside_code(part: str) -> str:
        return _LINK.sub(lead, part)

    blocks = _FENCE.split(text)
    # split gives text, block, its fence, text, ...
    return "".join(
        outside_code(part) if i % 3 == 0 else part for i, part in enumerate(blocks) if i % 3 != 2
    )


def _page_of(path: str) -> str:
    return f"source/{path}.md"


def _shown(path: str) -> str:
    """A page that shows a file of the repository."""
    text = (ROOT / path).read_text(encoding="utf-8")
    fence = "`" * (3 + max((len(m) for m in re.findall(r"`{3,}", text)), default=0))
    language = LANGUAGES.get(Path(path).suffix, "text")
    return f"# {path}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"
