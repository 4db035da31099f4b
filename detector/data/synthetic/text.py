"""What a synthetic receipt says and where on the roll each part goes, in character columns.

A receipt is a list of rows. Positions are in columns of half an em, as on a thermal printer:
a Hangul syllable takes two, other characters one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from detector.data.synthetic.vocabulary import VOCABULARIES, Vocabulary

Align = Literal["left", "centre", "right"]
RULES = ("line", "double", "dashed", "-", "=", "*", "none")
GRAPHICS = ("barcode", "qr", "logo")


@dataclass(frozen=True)
class Cell:
    """A text at `column`: its start, middle or end, by `align`."""

    text: str
    column: float
    align: Align = "left"


@dataclass(frozen=True)
class Row:
    """One printed line, a rule (`rule` in RULES) or a graphic (in GRAPHICS); `scale` x the font.

    Rules and graphics hold no words, even those printed as a row of `-`, `=` or `*`.
    """

    cells: tuple[Cell, ...] = ()
    scale: float = 1.0
    bold: bool = False
    rule: str = ""
    graphic: str = ""


@dataclass(frozen=True)
class Receipt:
    """Rows from top to bottom on a roll `columns` half-ems wide."""

    language: str
    columns: int
    rows: tuple[Row, ...]


def is_hangul(character: str) -> bool:
    """Whether a character is a precomposed Hangul syllable."""
    return "가" <= character <= "힣"


def word_language(word: str) -> str:
    """`ko` with any Hangul, else `en` with any letter, else `num` with any digit, else `others`."""
    if any(map(is_hangul, word)):
        return "ko"
    if any(c.isalpha() for c in word):
        return "en"
    return "num" if any(c.isdigit() for c in word) else "others"


def width(text: str) -> int:
    """Columns that a text takes."""
    return sum(2 if is_hangul(c) else 1 for c in text)


def word_count(rows: tuple[Row, ...] | list[Row]) -> int:
    """Whitespace-separated words of the rows."""
    return sum(len(cell.text.split()) for row in rows for cell in row.cells)


def write_receipt(language: str, rng: np.random.Generator) -> Receipt:
    """A receipt of about 60 to 140 words (typically 100) in `language` (`ko` or `en`)."""
    return _Writer(language, rng).receipt()


def write_blank(language: str, rng: np.random.Generator) -> Receipt:
    """A receipt without any word: rules, graphics or nothing on the paper."""
    writer = _Writer(language, rng)
    rows = []
    for _ in range(rng.integers(0, 6)):
        rows.append(writer.graphic() if rng.random() < 0.3 else Row(rule=writer.pick(RULES)))
        rows += [Row(rule="none")] * int(rng.integers(0, 5))
    return Receipt(language, writer.columns, tuple(rows + [Row(rule="none")] * 12))


class _Writer:
    """The choices that hold for a whole receipt: width of the roll, rule style, dates, money."""

    def __init__(self, language: str, rng: np.random.Generator) -> None:
        self.rng = rng
        self.language = language
        self.words: Vocabulary = VOCABULARIES[language]
        self.columns = int(rng.integers(34, 47))
        self.rule = self.pick(RULES)
        self.decimals = 0 if language == "ko" else 2
        self.currency = (
            self.pick(("", "", "원")) if language == "ko" else self.pick(("", "$", "RM "))
        )
        self.total = 0.0
        self.count = 0

    def pick(self, options: tuple[str, ...]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def digits(self, pattern: str) -> str:
        """`#` becomes a random digit; `{}` a random number below 300."""
        text = "".join(str(self.rng.integers(10)) if c == "#" else c for c in pattern)
        while "{}" in text:
            text = text.replace("{}", str(self.rng.integers(1, 300)), 1)
        return text

    def receipt(self) -> Receipt:
        target = int(np.clip(self.rng.normal(101, 20), 60, 140))
        head, foot = self.head(), self.foot()
        fixed = word_count(head) + word_count(foot) + 26  # the totals and the payment come later
        items: list[Row] = []
        while self.count < 2 or fixed + word_count(items) < target - 2:
            items += self.item()
        rows = [*head, self.separator(), *self.item_header(), *items, self.separator()]
        rows += [*self.totals(), self.separator(), *self.payment(), *foot]
        return Receipt(self.language, self.columns, tuple(rows))

    # Pieces of a row

    def separator(self) -> Row:
        return Row(rule=self.rule)

    def graphic(self) -> Row:
        return Row(graphic=self.pick(GRAPHICS))

    def centred(self, text: str, scale: float = 1.0, *, bold: bool = False) -> list[Row]:
        """One row, or two when the text does not fit the roll."""
        words = text.split(" ")
        if width(text) * scale > self.columns - 1 and len(words) > 1:
            half = (len(words) + 1) // 2
            parts = (" ".join(words[:half]), " ".join(words[half:]))
            return [row for part in parts for row in self.centred(part, scale, bold=bold)]
        scale = min(scale, (self.columns - 1) / width(text))
        return [Row((Cell(text, self.columns / 2, "centre"),), scale, bold)]

    def pair(self, name: str, value: str, scale: float = 1.0, *, bold: bool = False) -> Row:
        """A label at the left and a value at the right end of the roll."""
        scale = min(scale, (self.columns - 1) / (width(name) + width(value)))
        return Row((Cell(name, 0), Cell(value, self.columns, "right")), scale, bold)

    def money(self, value: float) -> str:
        return f"{value:,.{self.decimals}f}"

    # Parts of the receipt

    def head(self) -> list[Row]:
        words = self.words
        rows = [Row(graphic="logo")] if self.chance(0.15) else []
        rows += self.centred(self.pick(words.shops), self.rng.uniform(1.3, 2.2), bold=True)
        title = self.centred(self.pick(words.titles), self.rng.uniform(1.0, 1.5))
        if self.chance(0.4):
            rows += [Row(rule="none"), *title]
        address = [self.digits(self.pick(words.branches)), self.digits(self.pick(words.streets))]
        address.append(f"{words.phone} {self.digits(self.pick(('02-###-####', '0##-####-####')))}")
        address.append(f"{words.business_number} {self.digits('###-##-#####')}")
        if self.chance(0.5):
            address.append(f"{words.owner} {self.pick(words.people)}")
        place = self.centred if self.chance(0.7) else self.left
        for line in address:
            rows += place(line)
        rows.append(self.separator())
        return rows + self.when()

    def left(self, text: str) -> list[Row]:
        row = self.centred(text)
        return [Row((Cell(r.cells[0].text, 0),), r.scale, r.bold) for r in row]

    def when(self) -> list[Row]:
        moment = datetime(2015, 1, 1) + timedelta(minutes=int(self.rng.integers(10 * 525_600)))
        date = self.pick(("%Y-%m-%d", "%Y/%m/%d", "%d/%m/%Y" if self.decimals else "%Y.%m.%d"))
        clock = self.pick(("%H:%M", "%H:%M:%S"))
        rows = [self.pair(moment.strftime(f"{date} {clock}"), self.digits("POS:##-####"))]
        if self.chance(0.6):
            rows += self.left(f"{self.words.cashier} {self.pick(self.words.people)}")
        if self.chance(0.6):
            rows += self.left(f"{self.words.receipt_number} {self.digits('########')}")
        return rows

    def item_header(self) -> list[Row]:
        if self.chance(0.15):
            return []
        return [self.item_row(*self.words.columns), self.separator()]

    def item(self) -> list[Row]:
        name = self.pick(self.words.goods)
        if self.chance(0.25):
            name += " " + self.pick(self.words.sizes)
        if self.chance(0.1):
            name = f"{self.count + 1:03d} {name}"
        price = self.price()
        quantity = int(self.rng.choice((1, 1, 1, 2, 2, 3, 4, 10)))
        self.count += quantity
        self.total += price * quantity
        values = (self.money(price), str(quantity), self.money(price * quantity))
        if width(name) + 2 <= self.columns - 16 - width(values[0]):
            return [self.item_row(name, *values)]
        code = self.digits("88#########") if self.chance(0.5) else ""
        return [*self.left(name), self.item_row(code, *values)]

    def item_row(self, name: str, price: str, quantity: str, amount: str) -> Row:
        end = self.columns
        cells = (
            Cell(price, end - 16, "right"),
            Cell(quantity, end - 10.5, "right"),
            Cell(amount, end, "right"),
        )
        return Row((Cell(name, 0), *cells) if name else cells)

    def price(self) -> float:
        if self.decimals:
            return float(np.round(np.exp(self.rng.uniform(0, 4)), 2))
        return float(np.round(np.exp(self.rng.uniform(6.5, 10.3)), -2))

    def totals(self) -> list[Row]:
        words, total = self.words, self.total
        tax = total * (6 / 106 if self.decimals else 1 / 11)
        rows = [self.pair(words.item_count, str(self.count))] if self.chance(0.6) else []
        if self.chance(0.4):
            rows.append(self.pair(words.untaxed, self.money(0)))
        rows.append(self.pair(words.taxed, self.money(total - tax)))
        rows.append(self.pair(words.tax, self.money(tax)))
        if self.chance(0.3):
            rows.append(self.pair(words.discount, "-" + self.money(self.price() / 10)))
        if self.chance(0.5):
            rows.append(self.separator())
        amount = self.money(total)
        amount = amount + self.currency if self.currency == "원" else self.currency + amount
        return [*rows, self.pair(words.total, amount, self.rng.uniform(1.0, 1.9), bold=True)]

    def payment(self) -> list[Row]:
        words = self.words
        if self.chance(0.25):
            paid = np.ceil(self.total / 10**4 if self.decimals == 0 else self.total / 10)
            paid *= 10**4 if self.decimals == 0 else 10
            return [
                self.pair(words.paid_in_cash, self.money(paid)),
                self.pair(words.change, self.money(paid - self.total)),
            ]
        number = self.digits(self.pick(("####-****-****-####", "####-##**-****-###*")))
        rows = [
            self.pair(words.paid_by_card, self.money(self.total)),
            self.pair(words.card_number, number),
            self.pair(self.pick(words.cards), words.instalments),
            self.pair(words.approval, self.digits("########")),
        ]
        if self.chance(0.3):
            rows.append(self.pair(words.points, self.money(self.total / 100)))
        return rows

    def foot(self) -> list[Row]:
        rows = [self.separator()]
        for index in self.rng.permutation(len(self.words.notes))[: self.rng.integers(1, 4)]:
            rows += self.centred(self.digits(self.words.notes[index]))
        if self.chance(0.8):
            rows += self.centred(self.pick(self.words.thanks), self.rng.uniform(1.0, 1.4))
        if self.chance(0.3):
            graphic = self.pick(("barcode", "qr"))
            rows += [Row(rule="none"), Row(graphic=graphic)]
            if graphic == "barcode":
                rows += self.centred(self.digits("################"))
        return rows
