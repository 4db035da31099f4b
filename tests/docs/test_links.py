"""Links, anchors and paths in the documentation lead to something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from doc_markdown import ROOT, anchors, inline_code, links, markdown_files, split_fences

PAGES = markdown_files()
FOLDERS = (".ci", "benchmarks", "detector", "docs", "orchestrator", "search_spaces", "tests")
WON_BY_HAND = "## What the contest's winners did by hand"
pages = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())


def outside_of(page: Path) -> str:
    return split_fences(page.read_text(encoding="utf-8"))[0]


@pages
def test_links_lead_to_files_and_headings(page: Path) -> None:
    wrong = []
    for line, target in links(outside_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists() or ROOT not in (goal, *goal.parents):
            wrong.append(f"{page.name}:{line}: {target}: there is no such file")
        elif anchor and anchor not in anchors(outside_of(goal)):
            wrong.append(f"{page.name}:{line}: {target}: {goal.name} has no such heading")
    assert not wrong, "\n".join(wrong)


@pages
def test_paths_in_code_exist(page: Path) -> None:
    """`detector/training/loss.py` and the like; `*` and `{a,b}` stand for what is there."""
    wrong = [
        f"{page.name}:{line}: {path}"
        for line, path in paths_in_code(outside_of(page))
        if not any(ROOT.glob(path))
    ]
    assert not wrong, "no such file: " + ", ".join(wrong)


def paths_in_code(outside: str) -> Iterator[tuple[int, str]]:
    """(line, path) of inline code that is a path of the repository, without `:line` or `::test`."""
    for line, code in inline_code(outside):
        path = code.partition(":")[0].rstrip("/")
        known = path.startswith(tuple(f"{folder}/" for folder in FOLDERS))
        if known and re.fullmatch(r"[\w./*-]+", path):
            yield line, path


def test_what_shows_each_row_of_the_contest_table_exists() -> None:
    """The third column names files; a bare name lies beside the file named before it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition(WON_BY_HAND)[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for row in rows:
        shown = row.strip("| ").split(" | ")[-1]
        place = Path()
        for _, code in inline_code(shown):
            if "=" in code:
                continue
            place = Path(code) if "/" in code else place.parent / code
            assert (ROOT / place).is_file(), f"{row}\nthere is no {place}"
        assert "`" in shown or "](" in shown, f"{row}\nnothing shows it"


def test_modules_in_the_table_of_rooms_exist() -> None:
    """A bare name lies in the room, or in the folder of what its row names first."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `orchestrator/")]
    assert len(rows) > 10
    for row in rows:
        codes = [code for _, code in inline_code(row)]
        room = Path(codes[0]) if codes[0].endswith("/") else Path(codes[0]).parent
        modules = [code for code in codes if code.endswith(".py")]
        missing = [name for name in modules if not (ROOT / room / Path(name).name).is_file()]
        assert not missing, f"{room} has no {', '.join(missing)}"


def test_files_in_the_picture_of_the_flow_exist() -> None:
    svg = ElementTree.parse(ROOT / "docs" / "architecture.svg")
    texts = [node.text or "" for node in svg.iter() if node.get("class") == "file"]
    names = [part.strip() for text in texts for part in text.split(",")]
    paths = [name for name in names if re.fullmatch(r"[\w/]+(?:\.py|/)", name)]
    assert len(paths) > 12
    for path in paths:
        homes = (ROOT / "orchestrator" / path, ROOT / "detector" / path)
        assert any(home.exists() for home in homes), path


def test_every_page_is_reached_from_the_readme_or_the_start_page() -> None:
    """Directly or over other pages."""
    seen, ahead = set(), [ROOT / "README.md", ROOT / "docs" / "index.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or not page.is_file():
            continue
        seen.add(page)
        targets = [target.partition("#")[0] for _, target in links(outside_of(page))]
        ahead += [(page.parent / t).resolve() for t in targets if t.endswith(".md")]
    missing = [p.name for p in PAGES if p not in seen and not p.name.startswith("README")]
    assert not missing, f"no page links to {', '.join(missing)}"
