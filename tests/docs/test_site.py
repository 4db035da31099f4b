"""docs/ as a site: it builds without a warning, and shows on it what GitHub shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_markdown import ROOT, markdown_files

pytestmark = pytest.mark.docs

pytest.importorskip("mkdocs", reason="mkdocs is not installed (pip install -e '.[docs]')")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; every warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def whole_html_of(site: Path, page: Path) -> str:
    inside = page.is_relative_to(ROOT / "docs")
    name = page.relative_to(ROOT / "docs").as_posix() if inside else page.name.lower()
    return (site / name).with_suffix(".html").read_text(encoding="utf-8")


def html_of(site: Path, page: Path) -> str:
    """The main part of a page of the site, without blocks of code."""
    html = whole_html_of(site, page)
    return re.sub(r"<pre>.*?</pre>|<code>.*?</code>", "", html, flags=re.DOTALL)


def test_every_page_is_in_the_site(site: Path) -> None:
    for page in markdown_files():
        assert "</html>" in html_of(site, page)


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for html in site.rglob("*.html"):
        text = html.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|link|img)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"", text)
        assert [url for url in loaded if re.match(r"(https?:)?//", url)] == [], html.name
    for style in site.rglob("*.css"):
        imported = re.findall(r"@import[^;]*|url\(['\"]?(?:https?:)?//", style.read_text("utf-8"))
        assert imported == [], style.name


def test_the_switch_to_dark_finds_the_style_sheets_it_turns_off(site: Path) -> None:
    for page in markdown_files():
        found = re.findall(r'id="(hljs-\w+)"', whole_html_of(site, page))
        assert found == ["hljs-light", "hljs-dark"]


def test_lists_tables_and_blocks_are_what_they_are_on_github(site: Path) -> None:
    """MkDocs wants a blank line before a list and four spaces below one; GitHub does not."""
    for page in markdown_files():
        html = html_of(site, page)
        for paragraph in re.findall(r"<p>(.*?)</p>", html, re.DOTALL):
            left = re.search(r"^\s*(?:[-*+] |\d+\. |\||```|~~~|#{1,6} )", paragraph, re.MULTILINE)
            assert left is None, f"{page.name}: not read as Markdown by MkDocs: {paragraph[:200]}"


def test_a_link_out_of_docs_leads_to_a_page_with_the_file(site: Path) -> None:
    html = html_of(site, ROOT / "docs" / "warm_start.md")
    assert 'href="source/search_spaces/published.yaml.html"' in html
    shown = (site / "source/search_spaces/published.yaml.html").read_text(encoding="utf-8")
    first = (ROOT / "search_spaces/published.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first in shown
