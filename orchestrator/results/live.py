"""What a person sees during a search."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from detector.core.escape import printable_lines
from orchestrator.events.kinds import Epoch, Event
from orchestrator.events.lines import line_of, must_be_read
from orchestrator.results.leaderboard_table import Column, drawn, fitting, short
from orchestrator.results.ranking import best
from orchestrator.trials.duration import duration
from orchestrator.trials.records import TrialRecord, TrialState

EXPECTED_EVERY_S = 60.0  # between two lines on what is expected, where there is no table
LEAST_LEFT_S = 1.0  # less is not worth telling
ROWS_BESIDE_TABLE = 9  # terminal lines that the table's frame and summary take


class View:
    """One table updating in place on a terminal; elsewhere a line per event."""

    def __init__(
        self,
        console: Console,
        *,
        trials: int,
        epochs: int,
        parameters: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._trials, self._epochs = console, trials, epochs
        self._clock = clock
        # TERM=dumb is a terminal that cannot be written to twice in one place.
        self._has_table = console.is_terminal and not console.is_dumb_terminal
        self._parameters = parameters
        self._records: list[TrialRecord] = []
        self._now: dict[str, float] = {}  # H-mean of the last epoch by trial
        self._left: dict[str, float | None] = {}  # seconds of a trial's job by trial
        self._expected = ""
        self._started = self._told = clock()
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> View:
        if self._has_table:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, records: Sequence[TrialRecord]) -> None:
        """Replace what the table holds."""
        self._records = list(records)

    def left(self, seconds: Mapping[str, float | None]) -> None:
        """How long each trial at work still is; None is not known."""
        self._left = dict(seconds)

    def expect(self, words: str) -> None:
        """What is expected of the search: below the table, or in a line a minute."""
        self._expected = words
        if not self._has_table and self._clock() >= self._told + EXPECTED_EVERY_S:
            self._told = self._clock()
            self.say(f"search: {words}")

    def say(self, line: str) -> None:
        """A line that stays, above the table."""
        self._console.print(printable_lines(line), highlight=False, markup=False, soft_wrap=True)

    def tell(self, event: Event) -> None:
        """Something has happened: a line where there is no table; what went wrong always gets one.

        The scores of an epoch are what the table shows of it.
        """
        line = line_of(event)
        if isinstance(event, Epoch):
            self._now[event.trial] = event.hmean
            left = self._left.get(event.trial) or 0.0
            line = f"{line}  {duration(left)} left" if line and left >= LEAST_LEFT_S else line
        if line is not None and (must_be_read(event) or not self._has_table):
            self.say(line)

    def _render(self) -> Group:
        over = sum(r.state.is_over for r in self._records)
        top = best(self._records)
        paused = sum(r.state is TrialState.PAUSED for r in self._records)
        line = f"{over} of {self._trials} trials over"
        line += f", {paused} paused" if paused else ""
        line += f", {duration(self._clock() - self._started)}"
        if top is not None:
            line += f", best H-mean {top.hmean:.4f} (trial {top.trial})"
        lines = [line, *([self._expected] if self._expected else [])]
        return Group(self._table(), *map(Text, lines))

    def _table(self) -> Table:
        size = self._console.size
        room = max(size.height - ROWS_BESIDE_TABLE, 3)
        order = sorted(self._records, key=lambda r: (r.state.is_over, -(r.hmean or 0), r.trial))
        kept, _ = fitting(self._columns(order[:room]), size.width)
        table = drawn(kept, [record.state for record in order[:room]], frame=None)
        if len(order) > room:
            table.add_row("", f"{len(order) - room} more")
        return table

    def _columns(self, shown: Sequence[TrialRecord]) -> list[Column]:
        now = [self._now.get(record.trial) for record in shown]
        return [
            Column("trial", [record.trial for record in shown], 0, "left"),
            Column("state", [record.state.value for record in shown], 0, "left"),
            Column("epoch", [f"{record.epochs}/{self._epochs}" for record in shown], 0),
            Column("H-mean", [_score(hmean) for hmean in now], 0),
            Column("best", [_score(record.hmean) for record in shown], 0),
            Column("time", [duration(record.seconds) for record in shown], 0),
            *([Column("left", self._lefts(shown), 0)] if any(self._left.values()) else []),
            *(
                Column(key.rpartition(".")[2], [short(r.params.get(key)) for r in shown], 1, "left")
                for key in self._parameters
            ),
        ]

    def _lefts(self, shown: Sequence[TrialRecord]) -> list[str]:
        seconds = [self._left.get(record.trial) for record in shown]
        return ["" if left is None else duration(left) for left in seconds]


def _score(hmean: float | None) -> str:
    return "" if hmean is None else f"{hmean:.4f}"
