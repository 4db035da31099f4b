from __future__ import annotations

from pathlib import Path

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from label_files import label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.documents import page_xml
from detector.data.raw.labelled import Labelled

POINTS = "1,2 30,2 30,12 1,12"
QUAD = [[1, 2], [30, 2], [30, 12], [1, 12]]
COORDS = f'<Coords points="{POINTS}"/>'


def text(content: str, index: str = "") -> str:
    return f"<TextEquiv {index}><Unicode>{content}</Unicode></TextEquiv>"


def whole(regions: str, page: str = 'imageFilename="a.png"') -> str:
    space = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2017-07-15"
    return f'<PcGts xmlns="{space}"><Metadata/><Page {page}>{regions}</Page></PcGts>'


def region(inside: str) -> str:
    return f"<TextRegion>{COORDS}{inside}{text('all of it')}</TextRegion>"


def line(inside: str) -> str:
    return f'<TextLine>{COORDS}<Baseline points="1,12 30,12"/>{inside}</TextLine>'


def word(inside: str, coords: str = COORDS) -> str:
    return f"<Word>{coords}{inside}</Word>"


def page(root: Path, content: str, name: str = "page/a.xml") -> Labelled:
    (found,) = pages_of(page_xml, label_file(root, name, content))
    return found


def test_words_of_lines_in_the_order_of_the_file(tmp_path: Path) -> None:
    words = word(text("둘 &amp; &lt;b&gt;")) + word(text("three"))
    content = whole(region(line(word(text("one")) + text("one"))) + region(line(words)))
    found = page(tmp_path, content)
    assert told(found) == [(t, False) for t in ("one", "둘 & <b>", "three")]
    assert points_of(found) == [QUAD] * 3
    assert (found.image, found.others, found.size) == ("a.png", ("page/a",), None)


def test_a_line_without_words_is_the_word(tmp_path: Path) -> None:
    found = page(tmp_path, whole(region(line(text("a line")) + line(word(text("one"))))))
    assert [t for t, _ in told(found)] == ["a line", "one"]


def test_of_several_texts_that_with_the_lowest_index_counts(tmp_path: Path) -> None:
    texts = text("late", 'index="2"') + text("main", 'index="0"') + text("none")
    found = page(tmp_path, whole(region(line(word(texts) + word(text("b") + text("c"))))))
    assert [t for t, _ in told(found)] == ["main", "b"]


def test_words_may_have_no_text_or_a_plain_one(tmp_path: Path) -> None:
    plain = "<TextEquiv><PlainText>p</PlainText><Unicode/></TextEquiv>"
    found = page(tmp_path, whole(region(line(word("") + word(text("")) + word(plain)))))
    assert [t for t, _ in told(found)] == [None, "", "p"]


def test_prefixes_and_the_points_of_2010(tmp_path: Path) -> None:
    old = "".join(f'<pc:Point x="{x}" y="{y}"/>' for x, y in QUAD)
    space = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2010-03-19"
    content = (
        f'<pc:PcGts xmlns:pc="{space}"><pc:Page imageFilename="..\\a.png" imageWidth="99" '
        f'imageHeight="60"><pc:TextRegion><pc:TextLine><pc:Word><pc:Coords>{old}</pc:Coords>'
        "</pc:Word></pc:TextLine></pc:TextRegion></pc:Page></pc:PcGts>"
    )
    found = page(tmp_path, content)
    assert points_of(found) == [QUAD]
    assert (found.image, found.size) == ("../a.png", ("99", "60"))


def test_regions_in_regions_and_what_is_no_word(tmp_path: Path) -> None:
    glyph = f"<Glyph>{COORDS}{text('o')}</Glyph>"
    table = f"<TableRegion>{COORDS}{region(line(word(glyph + text('one'))))}</TableRegion>"
    others = f"<NoiseRegion>{COORDS}</NoiseRegion>{region('')}"
    found = page(tmp_path, whole(table + others))
    assert told(found) == [("one", False)]
    assert found.left_out == {"Glyph": 1, "NoiseRegion": 1, "TextRegion": 1}


def test_a_page_without_words_or_a_name_stays(tmp_path: Path) -> None:
    found = page(tmp_path, whole("", page=""))
    assert (found.image, found.words) == ("page/a", {})


def test_what_is_malformed_is_passed_on(tmp_path: Path) -> None:
    words = word("", "") + word("", '<Coords points="1,2 x"/>')
    words += word("", '<Coords><Point x="1"/></Coords>') + word("", "<Coords/>")
    found = page(tmp_path, whole(region(line(words))))
    assert points_of(found) == [None, "1,2 x", [["1", None]], []]


@pytest.mark.parametrize(
    "content", ["<PcGts/>", "<alto><Page/></alto>", "<PcGts><Page/><Page/></PcGts>"]
)
def test_other_xml_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match="must be <PcGts>"):
        list(page_xml.read(label_file(tmp_path, "a.xml", content)))
    assert not page_xml.claims(label_file(tmp_path, "b.xml", "<alto/>"))


@examples(100)
@given(st.text(alphabet="0123456789., -einf"), st.text(alphabet="0123456789.-einf"))
def test_any_places_end_in_words_that_can_be_checked(
    tmp_path_factory, points: str, number: str
) -> None:
    old = f'<Coords><Point x="{number}" y="1"/><Point y="{number}"/></Coords>'
    words = word(text("x", f'index="{number}"'), f'<Coords points="{points}"/>') + word("", old)
    content = whole(region(line(words)))
    survives(page_xml, label_file(tmp_path_factory.getbasetemp(), "page.xml", content))
