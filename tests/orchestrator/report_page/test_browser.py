"""The page in a real browser: it loads by itself, sorts, filters, fits a phone and a theme."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState

from orchestrator.report_page.write import write_report

pytestmark = pytest.mark.browser

HOSTILE = "</script><script>document.title = 'hit'</script><img src=http://127.0.0.1:9/x>"
NAMES = "[...document.querySelectorAll('#leaderboard tbody tr:not([hidden])')].map(r => {}).join()"
TRIALS = NAMES.format("r.cells[1].textContent")
DRAW_ALL = """(async () => {
  for (const chart of document.querySelectorAll('[data-chart]')) {
    chart.scrollIntoView({ behavior: 'instant' });
    while (!chart.dataset.drawn) await new Promise(go => setTimeout(go, 20));
  }
})()"""
ALL_DRAWN = "[...document.querySelectorAll('[data-chart]')].every(c => c.dataset.drawn)"


@pytest.fixture
def page(usual):
    usual.add(TrialState.FAIL, [], reason=HOSTILE)
    return write_report(usual.run)


def draw(browser):
    browser.run(DRAW_ALL)
    assert browser.run(ALL_DRAWN)


def header(name):
    return (
        f"[...document.querySelectorAll('#leaderboard th')].find(h => h.textContent === '{name}')"
    )


def test_it_loads_without_errors_and_asks_the_network_for_nothing(browser, page):
    browser.open(page)
    draw(browser)
    assert browser.errors == []
    # The file itself, and images that are in it.
    assert [url for url in browser.requests if not url.startswith("data:")] == [
        page.resolve().as_uri()
    ]
    assert browser.run("document.title") == "Run run"
    assert browser.run("document.querySelectorAll('.chart svg').length") > 6


def test_charts_are_drawn_when_they_come_into_view(browser, page):
    browser.open(page, height=400)
    browser.wait("document.readyState === 'complete'")
    assert not browser.run(ALL_DRAWN)
    draw(browser)


def test_headers_sort_by_mouse_and_keyboard(browser, page):
    browser.open(page)
    assert browser.run(TRIALS) == "00000,00001,00002,00003,00004,00005"
    browser.run(f"{header('H-mean')}.querySelector('button').click()")
    # 0.1 (failed), 0.3 (stopped), 0.6, 0.899, 0.9; what has no score is last either way.
    assert browser.run(TRIALS) == "00004,00003,00002,00001,00000,00005"
    assert browser.run(f"{header('H-mean')}.getAttribute('aria-sort')") == "ascending"
    browser.run(f"{header('H-mean')}.querySelector('button').focus()")
    browser.press("Enter", 13, "\r")
    assert browser.run(TRIALS) == "00000,00001,00002,00003,00004,00005"
    assert browser.run(f"{header('H-mean')}.getAttribute('aria-sort')") == "descending"
    assert browser.run(f"{header('trial')}.getAttribute('aria-sort')") == "none"


def test_numbers_are_sorted_as_numbers(browser, page):
    browser.open(page)
    browser.run(f"{header('optimizer.lr')}.querySelector('button').click()")
    # 0.001 is of two trials, which keep their order; then 0.002, 0.005, 0.008, 0.009.
    assert browser.run(TRIALS) == "00000,00005,00001,00003,00004,00002"


def choose(name, value):
    return (
        f"(() => {{ const part = document.querySelector('[data-filter={name}]'); "
        f"part.value = '{value}'; "
        "part.dispatchEvent(new Event('input', { bubbles: true })); })()"
    )


def test_rows_are_filtered_by_text_and_state(browser, page):
    browser.open(page)
    browser.run(choose("text", "RESNET34"))
    assert browser.run(TRIALS) == "00000"
    browser.run(choose("text", ""))
    browser.run(choose("state", "failed"))
    assert browser.run(TRIALS) == "00004,00005"
    count = browser.run("document.querySelector('[data-filter=count]').textContent")
    assert count == "2 of 6 trials"


def test_a_phone_scrolls_no_page_sideways(browser, page):
    browser.open(page, width=360, height=740)
    draw(browser)
    assert browser.run("document.documentElement.scrollWidth") <= 360


def test_the_theme_is_that_of_the_user(browser, page):
    ink = "getComputedStyle(document.querySelector('#history .xtick text')).fill"
    paper = "getComputedStyle(document.body).backgroundColor"
    browser.open(page, dark=True)
    draw(browser)
    assert browser.run(paper) == "rgb(18, 22, 28)"
    assert browser.run(ink) == "rgb(231, 235, 240)"
    browser.look(width=1280, height=800, dark=False)
    browser.wait(f"{ink} === 'rgb(27, 32, 40)'")
    assert browser.run(paper) == "rgb(255, 255, 255)"


def contrast(one, other):
    """The contrast of two sRGB colours: WCAG 2.2, relative luminance."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted(luminance([c / 255 for c in colour]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out(browser, page, dark):
    browser.open(page, dark=dark)
    variables = browser.run(
        "['--ink', '--muted', '--accent', '--paper', '--soft', '--mark'].map(name => "
        "getComputedStyle(document.documentElement).getPropertyValue(name).trim())"
    )
    rgb = [[int(text[i : i + 2], 16) for i in (1, 3, 5)] for text in variables]
    ink, muted, accent, paper, soft, mark = rgb
    assert min(contrast(t, p) for t in (ink, muted, accent) for p in (paper, soft)) >= 4.5
    assert contrast(ink, mark) >= 4.5


def test_a_printer_gets_all_charts_and_no_controls(browser, page):
    browser.open(page, height=400)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    browser.wait(ALL_DRAWN)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.run("getComputedStyle(document.querySelector('.filter')).display") == "none"
    assert browser.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.errors == []
