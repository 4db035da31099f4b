from __future__ import annotations

from pathlib import Path

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from label_files import label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.documents import hocr
from detector.data.raw.labelled import Labelled

BOX = [[10, 20], [50, 20], [50, 40], [10, 40]]


def word(inside: str, title: str = "bbox 10 20 50 40; x_wconf 9") -> str:
    return f"<span class='ocrx_word' title='{title}'>{inside}</span>"


def sheet(inside: str, title: str = 'image "a.png"; bbox 0 0 99 60') -> str:
    return f"<div class='ocr_page' title='{title}'><p class='ocr_par'>{inside}</p></div>"


def html(*pages: str) -> str:
    return (
        "<?xml version='1.0'?><!DOCTYPE html><html><head><title/><meta name='a'></head>"
        f"<body>{''.join(pages)}</body></html>"
    )


def page(root: Path, content: str | bytes, name: str = "sub/b.hocr") -> Labelled:
    (found,) = pages_of(hocr, label_file(root, name, content))
    return found


def test_words_with_their_boxes_and_texts(tmp_path: Path) -> None:
    words = word("Figs,") + "\n" + word("&quot;무화과&quot; &amp; &#60;b&#x3e;")
    found = page(tmp_path, html(sheet(words)).replace("\n", "\r\n").encode("utf-8-sig"))
    assert told(found) == [("Figs,", False), ('"무화과" & <b>', False)]
    assert points_of(found) == [BOX, BOX]
    assert (found.image, found.others, found.size) == ("a.png", ("sub/b",), ("99", "60"))


def test_text_of_inner_elements_belongs_to_the_word(tmp_path: Path) -> None:
    letters = "<em><span class='ocrx_cinfo'>i</span><span class='ocrx_cinfo'>t</span></em>"
    found = page(tmp_path, html(sheet(word(f"\n <strong>B</strong>{letters}<br>\n s ") + "after")))
    assert told(found) == [("Bit s", False)]
    assert found.left_out == {"character": 2}


@pytest.mark.parametrize(
    ("title", "points"),
    [
        ("x_wconf 9; x_bboxes 1 2 3 4 5 6 7 8; baseline 0 -3; bbox 10 20 50 40", BOX),
        ("textangle 90;bbox  10\n20 50 40 ", BOX),
        ("bbox 0 0 60 60; poly 10 20 50 20 50 40 10 40; x_wconf 1", BOX),
        ("x_bboxes 1 2 3 4", []),
        ("bbox 1 2 3", ["1", "2", "3"]),
        ("bbox 1 2 3 x", ["1", "2", "3", "x"]),
        ("poly 1 2 3", [1, 2, 3]),
        ("", []),
    ],
)
def test_the_place_of_a_word_among_its_properties(
    tmp_path: Path, title: str, points: list[object]
) -> None:
    assert points_of(page(tmp_path, html(sheet(word("x", title))))) == [points]


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ('"my; scan.png"', "my; scan.png"),
        (r'"my \"old\"; scan.png"', 'my "old"; scan.png'),
        ("&#39;my; scan.png&#39;", "my; scan.png"),
        ("it&#39;s.png", "it's.png"),
        ("plain.png", "plain.png"),
        ('"C:\\scans\\a b.png"', "C:/scans/a b.png"),
        ('"https://host/x/a%20b.png"', "x/a b.png"),
        ("", "sub/b"),
    ],
)
def test_names_of_images(tmp_path: Path, name: str, image: str) -> None:
    found = page(tmp_path, html(sheet(word("x"), f"bbox 0 0 9 9; image {name}; ppageno 0")))
    assert (found.image, found.size) == (image, ("9", "9"))


def test_several_pages_have_the_images_that_they_name(tmp_path: Path) -> None:
    content = html(sheet(word("a")), sheet("", 'image "b.png"'), sheet(word("c"), "ppageno 2"))
    pages = pages_of(hocr, label_file(tmp_path, "a.html", content))
    assert [(p.image, p.others, len(p.words)) for p in pages] == [
        ("a.png", (), 1),
        ("b.png", (), 0),
        ("", (), 1),
    ]


def test_lines_without_words_are_counted(tmp_path: Path) -> None:
    lines = f"<span class='ocr_line'>{word('a')}</span><span class='ocr_line x'>only a line</span>"
    found = page(tmp_path, html(sheet(lines)))
    assert (told(found), found.left_out) == ([("a", False)], {"line without words": 1})


def test_elements_that_are_left_open_end_with_those_around_them(tmp_path: Path) -> None:
    content = '<div class="ocr_page"><p><span class="ocrx_word" title="bbox 10 20 50 40">a<b>b</p>c'
    found = page(tmp_path, content)
    assert (told(found), points_of(found)) == ([("ab", False)], [BOX])


def test_words_without_a_page_are_of_the_file(tmp_path: Path) -> None:
    assert page(tmp_path, html(word("x"))).image == "sub/b"


@pytest.mark.parametrize(
    ("title", "image"),
    [
        ("image &quot;a; bbox 0 0 99 60", '"a'),
        ("image &quot;a;b.png&quot;; x_source &quot;c; bbox 0 0 99 60", "a;b.png"),
        ("x_source &quot;c; image &#39;a;b.png&#39;; bbox 0 0 99 60", "a;b.png"),
    ],
)
def test_a_quote_sign_that_is_not_closed_is_a_letter(
    tmp_path: Path, title: str, image: str
) -> None:
    found = page(tmp_path, html(sheet(word("a"), title)))
    assert (found.image, found.size) == (image, ("99", "60"))


@pytest.mark.timeout(60)  # minutes and more where time is the square of the length
@pytest.mark.parametrize(
    "more",
    [
        f"<span title='{'&quot;&#92;' * 200_000}'>",
        "<b>" * 50_000 + "</i>" * 100_000,
        "<b>a<br>" * 50_000,
        "<a b=" * 400_000,
    ],
    ids=["quotes", "ends", "depth", "tags"],
)
def test_what_is_never_closed_is_read_in_one_go(tmp_path: Path, more: str) -> None:
    found = page(tmp_path, html(sheet(word("a"))) + more)
    assert told(found) == [("a", False)]


@pytest.mark.parametrize("content", ["<html><p class='page'>ocr_page</p></html>", "", "no"])
def test_other_html_is_refused(tmp_path: Path, content: str) -> None:
    file = label_file(tmp_path, "a.html", content)
    assert not hocr.claims(file)
    with pytest.raises(InputError, match="not of hOCR"):
        list(hocr.read(file))


@examples(100)
@given(st.text(alphabet="<>/='\" ;bposcrx_wdclasti0123.-"), st.text(alphabet="0123. ;\"'-x"))
def test_any_text_ends_in_words_that_can_be_checked(
    tmp_path_factory, inside: str, title: str
) -> None:
    content = html(sheet(word(inside) + f'<i class=ocrx_word title="bbox {title}">'))
    survives(hocr, label_file(tmp_path_factory.getbasetemp(), "a.hocr", content))
