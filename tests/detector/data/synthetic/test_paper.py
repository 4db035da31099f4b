from __future__ import annotations

import numpy as np
import pytest

from detector.core.face import BUNDLED
from detector.data.synthetic.fonts import fonts_below
from detector.data.synthetic.paper import print_receipt
from detector.data.synthetic.text import Cell, Receipt, Row, word_count, write_receipt

FONTS = fonts_below(BUNDLED)


def rows(*cells, **options):
    blank = Row(rule="none")
    return (blank, Row(tuple(cells), **options), blank)


@pytest.mark.parametrize("font", FONTS, ids=lambda p: p.name)
@pytest.mark.parametrize("seed", range(3))
def test_all_ink_lies_in_the_word_boxes(font, seed):
    receipt = Receipt("ko", 40, rows(Cell("합계: 1,200원 (g)", 0), Cell("QjÅ-", 40, "right")))
    paper = print_receipt(receipt, font, height_px=200, rng=np.random.default_rng(seed))
    outside = paper.ink.copy()
    for word in paper.words:
        left, top, right, bottom = map(int, word.box)
        assert outside[top:bottom, left:right].any(), word
        outside[top:bottom, left:right] = 0
    assert not outside.any()


def test_words_are_split_at_spaces_and_stay_in_order():
    receipt = Receipt("en", 30, rows(Cell("two  three", 0), Cell("9.00", 30, "right")))
    paper = print_receipt(receipt, FONTS[0], height_px=200, rng=np.random.default_rng(1))
    assert [w.text for w in paper.words] == ["two", "three", "9.00"]
    lefts = [w.box[0] for w in paper.words]
    assert lefts == sorted(lefts)


def test_a_hyphen_is_as_high_as_a_digit():
    receipt = Receipt("en", 30, rows(Cell("- 0", 0)))
    paper = print_receipt(receipt, FONTS[0], height_px=200, rng=np.random.default_rng(1))
    hyphen, digit = paper.words
    assert hyphen.box[1::2] == digit.box[1::2]


@pytest.mark.parametrize("rule", ["line", "double", "dashed", "-", "=", "*"])
def test_rules_are_ink_without_words(rule):
    paper = print_receipt(
        Receipt("ko", 40, (Row(rule=rule),)), FONTS[0], height_px=120, rng=np.random.default_rng(3)
    )
    assert paper.words == ()
    assert paper.ink.any()


@pytest.mark.parametrize("graphic", ["barcode", "qr", "logo"])
def test_graphics_are_ink_without_words(graphic):
    receipt = Receipt("ko", 40, (Row(graphic=graphic),))
    paper = print_receipt(receipt, FONTS[0], height_px=200, rng=np.random.default_rng(3))
    assert paper.words == ()
    assert paper.ink.mean() > 1


@pytest.mark.parametrize("font", FONTS, ids=lambda p: p.name)
def test_words_of_a_whole_receipt_stay_apart_on_the_sheet(font):
    rng = np.random.default_rng(11)
    receipt = write_receipt("ko", rng)
    paper = print_receipt(receipt, font, height_px=1100, rng=rng)
    assert len(paper.words) == word_count(receipt.rows)
    height, width = paper.ink.shape
    boxes = np.array([w.box for w in paper.words])
    assert boxes.min() >= 0
    assert (boxes[:, 2] <= width).all()
    assert (boxes[:, 3] <= height).all()
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.maximum(0, high - low), axis=2)
    np.fill_diagonal(shared, 0)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    assert (shared < 0.1 * areas).all()


def test_some_receipts_have_smudged_words():
    receipt = Receipt("en", 30, rows(Cell("one two three four five", 0)))
    papers = [
        print_receipt(receipt, FONTS[0], height_px=100, rng=np.random.default_rng(i))
        for i in range(40)
    ]
    smudged = [sum(w.ignore for w in p.words) for p in papers]
    assert 4 <= sum(n > 0 for n in smudged) <= 24
    assert max(smudged) <= 3
