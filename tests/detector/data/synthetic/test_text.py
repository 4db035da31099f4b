from __future__ import annotations

import numpy as np
import pytest

from detector.data.synthetic.text import (
    is_hangul,
    width,
    word_count,
    word_language,
    write_blank,
    write_receipt,
)


def receipts(language, count=60):
    return [write_receipt(language, np.random.default_rng([5, i])) for i in range(count)]


@pytest.mark.parametrize(
    ("word", "language"),
    [
        ("합계", "ko"),
        ("GOOD마트", "ko"),
        ("TOTAL", "en"),
        ("1.25L", "en"),
        ("12,000", "num"),
        ("*", "others"),
    ],
)
def test_language_of_a_word(word, language):
    assert word_language(word) == language


def test_a_hangul_syllable_takes_two_columns():
    assert width("합계 10") == 2 + 2 + 1 + 1 + 1


@pytest.mark.parametrize("language", ["ko", "en"])
def test_receipts_are_dense(language):
    counts = [word_count(r.rows) for r in receipts(language)]
    assert 90 <= np.median(counts) <= 110
    assert min(counts) >= 50
    assert max(counts) <= 150
    assert np.std(counts) > 10  # they vary


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_row_fits_the_roll(language):
    for receipt in receipts(language):
        for row in receipt.rows:
            end = 0.0
            for cell in row.cells:
                long = width(cell.text) * row.scale
                start = cell.column - {"left": 0, "centre": long / 2, "right": long}[cell.align]
                assert start >= end - 1e-6, (receipt.columns, row)
                end = start + long
            assert end <= receipt.columns + 1e-6, (receipt.columns, row)


def test_english_receipts_have_no_hangul_and_korean_ones_do():
    def hangul(receipt):
        return any(is_hangul(c) for row in receipt.rows for cell in row.cells for c in cell.text)

    assert not any(hangul(r) for r in receipts("en"))
    assert all(hangul(r) for r in receipts("ko"))


def test_the_total_is_the_sum_of_the_amounts():
    receipt = write_receipt("en", np.random.default_rng(2))
    amounts = [
        float(row.cells[-1].text.replace(",", ""))
        for row in receipt.rows
        if len(row.cells) >= 3 and row.cells[-1].text != "Amount"
    ]
    (total,) = (r.cells[1].text for r in receipt.rows if r.cells and r.cells[0].text == "TOTAL")
    assert float(total.lstrip("RM $").replace(",", "")) == pytest.approx(sum(amounts), abs=0.01)


def test_a_blank_receipt_has_no_words():
    for i in range(50):
        assert word_count(write_blank("ko", np.random.default_rng(i)).rows) == 0
