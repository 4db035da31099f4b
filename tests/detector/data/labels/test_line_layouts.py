from __future__ import annotations

import pytest

from detector.data.labels.line_layouts import line_layout


@pytest.mark.parametrize(
    ("line", "layout"),
    [
        ("20,20,120,40,TOTAL", "left,top,right,bottom,text between commas"),
        ("20 20 120 40 TOTAL", "left,top,right,bottom,text between blanks"),
        ("1\t2\t3\t2\t3\t4\t1\t4\tA", "x1,y1,...,x4,y4,text between tabs"),
        ("1;2;3;2;3;4;1;4;A", "x1,y1,...,x4,y4,text between semicolons"),
        ("1 2 3 2 3 4 1 4 A", "x1,y1,...,x4,y4,text between blanks"),
        (
            "0 .1 .1 .2 .1 .2 .2",
            "class x1 y1 ... xn yn (fractions), outlines of YOLO segmentation",
        ),
        ("0 20 20 120 40", "5 numbers between blanks"),
        ("[[1, 2], [3, 4]]", "points in brackets"),
        ('[{"a": 1}]', None),
        ("TOTAL 1 2 3 4", None),
        ("1,2,3", None),
        ("1,2,3,4,5,6,7,8,a", None),
        ("", None),
    ],
)
def test_layouts_are_told_by_the_numbers_that_begin_a_line(line: str, layout: str | None) -> None:
    assert line_layout(line) == layout
