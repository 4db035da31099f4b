"""The page is HTML in which no text of a user is anything but text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.report_page.blocks import (
    Cell,
    Chart,
    Command,
    Facts,
    Items,
    Paragraph,
    Picture,
    Section,
    Table,
)
from orchestrator.report_page.render import in_parts, render, script_json

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`&{{ 7 * 7 }}"


def hostile_page():
    blocks = [
        Paragraph(HOSTILE),
        Items([HOSTILE]),
        Facts([(HOSTILE, HOSTILE)]),
        Command(HOSTILE, HOSTILE),
        Table(HOSTILE, [HOSTILE], [[Cell(HOSTILE, HOSTILE)]], states=[HOSTILE], sortable=True),
        Chart("name", HOSTILE, HOSTILE, {"data": [{"text": HOSTILE}], "layout": {}}),
        Picture("data:image/jpeg;base64,", HOSTILE, HOSTILE, 1, 1, [HOSTILE]),
    ]
    return render(HOSTILE, HOSTILE, [Section("one", HOSTILE, blocks)])


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_hostile_names_stay_text():
    page = hostile_page()
    elements = Elements(page)
    # The data of the chart, plotly and the page's own script.
    assert len(elements.of("script")) == 3
    assert [image["src"] for image in elements.of("img")] == ["data:image/jpeg;base64,"]
    assert not [a for _, attributes in elements.found for a in attributes if a.startswith("on")]
    assert "49" not in re.sub(r"(?s)<script.*?</script>|<style.*?</style>", "", page)
    assert elements.of("div")[-1] is not None


def test_the_policy_lets_the_page_s_own_scripts_run_and_nothing_be_fetched():
    page = hostile_page()
    policy = next(
        m["content"] for m in Elements(page).of("meta") if m.get("http-equiv", "").startswith("Con")
    )
    scripts = re.findall(r"(?s)<script>(.*?)</script>", page)
    assert len(scripts) == 2
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_a_page_without_charts_is_small():
    page = render("run", "", [Section("one", "One", [Paragraph("nothing")])])
    assert len(page) < 30_000


def test_headings_are_in_order_and_headers_have_a_scope():
    elements = Elements(hostile_page())
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(th["scope"] == "col" for th in elements.of("th"))
    assert elements.of("html") == [{"lang": "en"}]
    charts = [d for d in elements.of("div") if "data-chart" in d]
    assert charts[0]["role"] == "img"
    assert HOSTILE in charts[0]["aria-label"]


@given(st.recursive(st.text() | st.floats(allow_nan=False, allow_infinity=False), st.lists))
def test_json_in_a_script_reads_back_and_ends_no_script(value):
    text = str(script_json(value))
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)


def test_names_of_settings_break_between_their_parts():
    assert in_parts("model.neck_channels") == "model.<wbr>neck_<wbr>channels"
    assert in_parts("<b>.&") == "&lt;b&gt;.<wbr>&amp;"


def test_a_chart_of_nan_is_an_error():
    with pytest.raises(ValueError, match="JSON compliant"):
        script_json([float("nan")])
