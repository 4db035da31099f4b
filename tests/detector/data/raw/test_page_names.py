"""Names of pages in two files: the closest way in which they are the same counts."""

from __future__ import annotations

import pytest

from detector.data.raw.page_names import page_index, pages_named

PAGES = {"x/a.jpg": ["x/a.jpg"], "y/a.PNG": ["y/a.PNG"], "b.v1": ["gt_b.v1", "b.v1"], "c": ["c"]}


@pytest.mark.parametrize(
    ("names", "pages"),
    [
        (["x/a.jpg"], ["x/a.jpg"]),
        (["x/a"], ["x/a.jpg"]),
        (["y/a.jpeg"], ["y/a.PNG"]),
        (["a.jpg"], ["x/a.jpg", "y/a.PNG"]),
        (["b.v1.jpg"], ["b.v1"]),
        (["b"], []),
        (["/home/me/c.jpg"], ["c"]),
        (["gt_c", "c"], ["c"]),
        (["res_x/a", "c"], ["c"]),
        (["d"], []),
    ],
)
def test_pages_that_a_name_means(names, pages):
    assert [*pages_named(names, page_index(PAGES))] == pages
