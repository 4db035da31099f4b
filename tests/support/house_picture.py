"""The two packages as pictures of houses in docs/, with the imports as lifts.

`python tests/support/house_picture.py regenerate` draws them again from the code. Each room has
a row, the highest floor on top, and a lift that goes down from it and stops at all rooms that it
imports from. Higher rooms have their lifts further to the right, so no way to a lift crosses
another lift. Modules are not counted: a new one changes the picture only where its room uses
another room for the first time.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path

from house import HOUSES, ROOT, House, modules_of, purpose, ways

COMMAND = "python tests/support/house_picture.py regenerate"
LEFT, TOP, BOTTOM = 16, 76, 40  # around the floors
ROW, GAP, INSET = 42, 8, 4  # of a room; between floors; of a box in its floor
BOX, NAME = 540, 164  # widths of a box, and of the name in it
LETTERS = 60  # in a line of a purpose, of which a box holds two
LIFT, FIRST_LIFT, STOP = 26, 36, 5  # from lift to lift; from a box to the first; its radius
STYLE = """
  .page { fill: #ffffff; stroke: #d0d7de; }
  .roof { fill: #eaf2fb; stroke: #0072b2; stroke-width: 1.5; }
  .floor { fill: #f3f5f7; }
  .box { fill: #ffffff; stroke: #57606a; }
  .head { font-size: 15px; font-weight: bold; fill: #1f2328; text-anchor: middle; }
  .name { font-size: 14px; font-weight: bold; fill: #1f2328; }
  .text { font-size: 12px; fill: #424a53; }
  .row { stroke: #c4cbd2; }
  .way { fill: none; stroke: #0072b2; stroke-width: 1.6; marker-end: url(#tip); }
  .stop { fill: #0072b2; }
"""


def picture_of(house: House) -> Path:
    """Where the picture of a house lies."""
    return ROOT / "docs" / f"{house.package.name}.svg"


def drawn(house: House) -> str:
    """The picture as SVG; the same text for the same code.

    ValueError for a room whose docstring begins with more than its box holds.
    """
    rows = _rows(house.floors)
    lines = [*_head(house.package.name, rows), *_floors(house.floors, rows)]
    for room, y in rows.items():
        lines += _box(y, room, purpose(house.package, room))
    lines += _lifts(rows, ways(modules_of(house.package)))
    return "\n".join([*lines, "</svg>", ""])


def _rows(floors: tuple[tuple[str, ...], ...]) -> dict[str, int]:
    """The top of each room's row, the highest room first."""
    rows, y = {}, TOP
    for floor in reversed(floors):
        for room in floor:
            rows[room] = y
            y += ROW
        y += GAP
    return rows


def _width(rows: dict[str, int]) -> int:
    """Of the floors, with room for a lift of each."""
    return 2 * INSET + BOX + FIRST_LIFT + LIFT * (len(rows) - 1)


def _head(title: str, rows: dict[str, int]) -> Iterator[str]:
    width, height = _width(rows) + 2 * LEFT, max(rows.values()) + ROW + BOTTOM
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="Helvetica, Arial, sans-serif" role="img" aria-labelledby="title desc">'
    )
    yield f'<title id="title">{escape(title)}</title>'
    yield (
        '<desc id="desc">Each room of the package in a row of its own, the highest floor on top, '
        "and a line down from it to every room that it imports from.</desc>"
    )
    yield f"<style>{STYLE}</style>"
    yield (
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="5.5" '
        'markerHeight="5.5" orient="auto"><path d="M0 0 10 5 0 10z" fill="#0072b2"/></marker>'
        "</defs>"
    )
    yield f'<rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"/>'
    right, middle = LEFT + BOX + 2 * INSET, LEFT + INSET + BOX // 2
    yield f'<path class="roof" d="M{LEFT} {TOP - 4}H{right}L{middle} 14Z"/>'
    yield f'<text class="head" x="{middle}" y="{TOP - 14}">{escape(title)}</text>'
    yield (
        f'<text class="text" x="{LEFT + INSET}" y="{height - 16}">A line leads from a room down to '
        "all that it imports from.</text>"
    )


def _floors(floors: tuple[tuple[str, ...], ...], rows: dict[str, int]) -> Iterator[str]:
    for floor in reversed(floors):
        yield (
            f'<rect class="floor" x="{LEFT}" y="{rows[floor[0]]}" '
            f'width="{_width(rows)}" height="{ROW * len(floor)}" rx="6"/>'
        )


def _box(y: int, room: str, text: str) -> Iterator[str]:
    words = textwrap.wrap(text.replace("`", ""), LETTERS)
    if len(words) > 2:
        raise ValueError(f"{room}/__init__.py: its first paragraph takes more than two lines")
    x, middle = LEFT + INSET, y + ROW // 2
    yield (
        f'<rect class="box" x="{x}" y="{y + INSET}" width="{BOX}" height="{ROW - 2 * INSET}" '
        'rx="5"/>'
    )
    yield f'<text class="name" x="{x + 10}" y="{middle + 5}">{room or "commands"}</text>'
    for number, line in enumerate(words):
        base = middle + 4 + (15 * number - 7 if len(words) > 1 else 0)
        yield f'<text class="text" x="{x + NAME}" y="{base}">{escape(line)}</text>'


def _lifts(rows: dict[str, int], used: set[tuple[str, str]]) -> Iterator[str]:
    """Faint rows first, then a lift with its stops for each room, so that nothing hides a stop."""
    going = [room for room in reversed(rows) if any(user == room for user, _ in used)]
    start = LEFT + INSET + BOX
    lift = {room: start + FIRST_LIFT + LIFT * i for i, room in enumerate(going)}
    middle = {room: y + ROW // 2 for room, y in rows.items()}
    for room, y in middle.items():
        last = max((lift[user] for user, to in used if to == room), default=0)
        if last:
            yield f'<path class="row" d="M{start} {y}H{last}"/>'
    for room, x in lift.items():
        stops = [to for to in rows if (room, to) in used]
        parts = [f"M{start} {middle[room]}H{x}"]
        parts += [f"M{x} {middle[to] + STOP}" for to in stops[:-1]]
        for part, to in zip(parts, stops, strict=True):
            yield f'<path class="way" d="{part}V{middle[to] - STOP}"/>'
        for to in stops:
            yield f'<circle class="stop" cx="{x}" cy="{middle[to]}" r="{STOP}"/>'


if __name__ == "__main__":
    if sys.argv[1:] != ["regenerate"]:
        raise SystemExit(f"usage: {COMMAND}")
    for house in HOUSES:
        picture_of(house).write_text(drawn(house), encoding="utf-8")
