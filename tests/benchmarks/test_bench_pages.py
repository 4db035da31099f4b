"""What the benchmark of the curve over pages says of scores that are known."""

from __future__ import annotations

from bench_pages import foretold

from orchestrator.page_parts.scores import Scored


def test_each_size_but_two_is_foretold_from_those_before_it():
    # Errors of 0.1 + 0.4 / sqrt(n) on both pages that all have; a third is out.
    hmeans = [1 - 0.1 - 0.4 * n**-0.5 for n in (4, 16, 64)]
    scores = [Scored(0, 0.5, {"a": hmean, "b": hmean}) for hmean in hmeans]
    scores[0] = Scored(0, 0.5, {"a": hmeans[0], "b": hmeans[0], "c": 0.0})
    (row,) = foretold([4, 16, 64], scores)
    _, known, at, gain, said, came, off, within, _ = (cell.strip() for cell in row.split("|"))
    assert (known, at, came, within) == ("4, 16", "64", "0.8500", "yes")
    # From 0.2 at 16 pages to 0.15 at 64, but for the exponent that is not known.
    assert abs(float(gain.split()[0]) - 0.05) < 0.005
    assert abs(float(said.split()[0]) - 0.85 - float(off)) < 1e-3
