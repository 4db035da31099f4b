from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from label_files import label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.documents import alto
from detector.data.raw.labelled import Labelled

BOX = 'HPOS="10" VPOS="20" WIDTH="40.5" HEIGHT="30"'
CORNERS = [[10, 20], [50.5, 20], [50.5, 50], [10, 50]]


def whole(
    lines: str, unit: str = "pixel", name: str = "scan.png", size: str = 'WIDTH="100" HEIGHT="80"'
) -> str:
    said = f"<fileName>{name}</fileName>" if name else ""
    return (
        '<alto xmlns="http://www.loc.gov/standards/alto/ns-v3#"><Description>'
        f"<MeasurementUnit>{unit}</MeasurementUnit>"
        f"<sourceImageInformation>{said}</sourceImageInformation></Description>"
        f'<Layout><Page {size}><PrintSpace><ComposedBlock><TextBlock ROTATION="90">{lines}'
        "</TextBlock></ComposedBlock><Illustration/></PrintSpace></Page></Layout></alto>"
    )


def line(inside: str) -> str:
    return f"<TextLine>{inside}</TextLine>"


def page(root: Path, content: str | bytes, name: str = "sub/a.xml") -> Labelled:
    (found,) = pages_of(alto, label_file(root, name, content))
    return found


def test_strings_are_words_and_hyphens_and_spaces_are_not(tmp_path: Path) -> None:
    polygon = '<Shape><Polygon POINTS="{}"/></Shape>'
    strings = f'<String {BOX} CONTENT="&quot;No&#46; 7&quot;"/><SP {BOX}/>'
    strings += f'<String {BOX} CONTENT="계약" SUBS_CONTENT="계약서"/><HYP CONTENT="-"/>'
    for points in ("1,2 30,2.5 30,12 1,12", "1 2 30 2.5 30 12 1 12"):
        strings += f'<String {BOX} CONTENT="x">{polygon.format(points)}</String>'
    found = page(tmp_path, whole(line(strings)))
    assert told(found) == [(text, False) for text in ('"No. 7"', "계약", "x", "x")]
    outline = [[1, 2], [30, 2.5], [30, 12], [1, 12]]
    assert points_of(found) == [CORNERS, CORNERS, outline, outline]
    assert (found.image, found.size, found.unit) == ("scan.png", ("100", "80"), "pixel")
    assert found.left_out == {"Illustration": 1}


@pytest.mark.parametrize("unit", ["mm10", " INCH1200 "])
def test_other_units_are_fractions_of_the_page(tmp_path: Path, unit: str) -> None:
    found = page(tmp_path, whole(line(f'<String {BOX} CONTENT="x"/>'), unit))
    expected = np.array(CORNERS) / [100, 80]
    np.testing.assert_allclose(points_of(found), [expected])
    assert (found.unit, found.size) == ("fraction", None)


@pytest.mark.parametrize(
    ("unit", "size", "told"),
    [
        ("mm10", 'WIDTH="100"', "need the WIDTH and HEIGHT"),
        ("inch1200", 'WIDTH="0" HEIGHT="80"', "need the WIDTH and HEIGHT"),
        ("cm", 'WIDTH="100" HEIGHT="80"', "got 'cm'"),
    ],
)
def test_places_that_cannot_be_known_are_refused(
    tmp_path: Path, unit: str, size: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        page(tmp_path, whole("", unit, size=size))


def test_a_unit_that_is_not_said_is_the_pixel(tmp_path: Path) -> None:
    content = f"<alto><Layout><Page>{line(f'<String {BOX}/>')}</Page></Layout></alto>"
    found = page(tmp_path, content, "sub/a.alto.xml")
    assert (points_of(found), told(found)) == ([CORNERS], [(None, False)])
    assert (found.image, found.others, found.size) == (
        "sub/a.alto",
        ("sub/a.alto", "sub/a"),
        None,
    )


def test_the_image_may_be_named_by_a_url(tmp_path: Path) -> None:
    found = page(tmp_path, whole("", name=" https://host/full/a%20b.jpg?x=1 "))
    assert (found.image, found.others, found.words) == ("full/a b.jpg", ("sub/a",), {})


def test_what_is_no_word_is_counted(tmp_path: Path) -> None:
    glyphs = f'<String {BOX} CONTENT="ab"><Glyph/><Glyph/></String>'
    found = page(tmp_path, whole(line(glyphs) + line("") + line("<SP/>")))
    assert found.left_out == {"Glyph": 2, "Illustration": 1, "line without words": 2}


def test_what_is_malformed_is_passed_on(tmp_path: Path) -> None:
    strings = '<String HPOS="1" VPOS="a"/><String><Shape><Polygon POINTS="1,2 3"/></Shape></String>'
    found = page(tmp_path, whole(line(strings)))
    assert points_of(found) == [["1", "a", None, None], [1, 2, 3]]


@pytest.mark.parametrize(
    "content", ["<alto/>", "<PcGts/>", "<alto><Layout><Page/><Page/></Layout></alto>"]
)
def test_a_file_without_its_one_page_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match="must have one"):
        list(alto.read(label_file(tmp_path, "a.xml", content)))
    assert not alto.claims(label_file(tmp_path, "b.xml", "<PcGts/>"))


@examples(100)
@given(
    st.text(alphabet="0123456789., -einf"),
    st.text(alphabet="0123456789.-einf"),
    st.sampled_from(["pixel", "mm10"]),
)
def test_any_places_end_in_words_that_can_be_checked(
    tmp_path_factory, points: str, number: str, unit: str
) -> None:
    strings = f'<String HPOS="{number}" VPOS="1" WIDTH="2" HEIGHT="{number}"/>'
    strings += f'<String><Shape><Polygon POINTS="{points}"/></Shape></String>'
    content = whole(line(strings), unit, size=f'WIDTH="{number}" HEIGHT="80"')
    survives(alto, label_file(tmp_path_factory.getbasetemp(), "alto.xml", content))
