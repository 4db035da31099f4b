"""Sections to one HTML page that carries all it needs and may fetch nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from orchestrator.report_page.blocks import Chart, Section

_HERE = Path(__file__).parent


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The page as HTML. Every text of `sections` is escaped here, and nowhere else.

    Plotly is a part of the page only where there is a chart. The policy in its head lets its own
    scripts run, by their digests, and lets nothing be fetched.
    """
    charts = [b for section in sections for b in section.blocks if isinstance(b, Chart)]
    scripts = [_file("script.js")]
    if charts:
        scripts.insert(0, _plotly())
    return _template().render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        style=Markup(_file("style.css")),
        scripts=[Markup(script) for script in scripts],
        policy=policy(scripts),
    )


def policy(scripts: Sequence[str]) -> str:
    """The Content-Security-Policy that runs these scripts alone and lets no request out.

    Plotly writes style rules and attributes, so these are allowed; they can fetch nothing either.
    """
    digests = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {digests}; "
        "base-uri 'none'; form-action 'none'"
    )


def script_json(value: object) -> Markup:
    """JSON that no text in it can end a script element with; ValueError for a NaN."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def in_parts(name: str) -> Markup:
    """A setting's name that lines may break behind its dots and underscores, and first there."""
    escaped = str(escape(name))
    return Markup(escaped.replace(".", ".<wbr>").replace("_", "_<wbr>"))


@lru_cache(maxsize=4)
def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


@lru_cache(maxsize=1)
def _plotly() -> str:
    return get_plotlyjs().replace("\r\n", "\n").strip()


@lru_cache(maxsize=4)
def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8").strip()


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"script_json": script_json, "in_parts": in_parts}
    return environment.get_template("page.html")
