"""What a person sees during a search."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from detector.escape import printable, printable_lines
from orchestrator.results.leaderboard_table import STYLES
from orchestrator.results.ranking import best
from orchestrator.trials.records import TrialRecord, TrialState

ROWS_BESIDE_TABLE = 8  # terminal lines that the table's frame and summary take
FIXED_WIDTH = 52  # columns that trial, state, epoch, scores and time take


class View:
    """One table updating in place on a terminal; elsewhere a line per event."""

    def __init__(self, console: Console, *, trials: int, epochs: int, parameters: Sequence[str]):
        self._console, self._trials, self._epochs = console, trials, epochs
        # TERM=dumb is a terminal that cannot be written to twice in one place.
        self._has_table = console.is_terminal and not console.is_dumb_terminal
        self._parameters = list(parameters)
        self._records: list[TrialRecord] = []
        self._now: dict[str, float] = {}  # H-mean of the last epoch by trial
        self._started = time.monotonic()
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> View:
        if self._has_table:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, records: Sequence[TrialRecord]) -> None:
        """Replace what the table holds."""
        self._records = list(records)

    def say(self, line: str) -> None:
        """A line that stays, above the table."""
        self._console.print(printable_lines(line), highlight=False, markup=False, soft_wrap=True)

    def epoch(self, record: TrialRecord, hmean: float) -> None:
        """An epoch is over: a line where there is no table."""
        self._now[record.trial] = hmean
        if not self._has_table:
            self.say(
                f"trial {record.trial}  epoch {record.epochs}/{self._epochs}  H-mean {hmean:.4f}  "
                f"best {record.hmean or 0:.4f}  {record.seconds:.0f} s"
            )

    def end(self, record: TrialRecord) -> None:
        """A trial is over or paused: a line where there is no table; a failure always gets one."""
        failed = record.state is TrialState.FAILED
        if failed or not self._has_table:
            score = "" if record.hmean is None else f"  H-mean {record.hmean:.4f}"
            reason = f"  {record.reason}" if failed else ""
            self.say(f"trial {record.trial}  {record.state}{score}{reason}")

    def _render(self) -> Group:
        seconds = int(time.monotonic() - self._started)
        over = sum(_is_over(r) for r in self._records)
        top = best(self._records)
        paused = sum(r.state is TrialState.PAUSED for r in self._records)
        line = f"{over} of {self._trials} trials over"
        line += f", {paused} paused" if paused else ""
        line += f", {seconds // 60}:{seconds % 60:02d}"
        if top is not None:
            line += f", best H-mean {top.hmean:.4f} (trial {top.trial})"
        return Group(self._table(), Text(line))

    def _table(self) -> Table:
        room = max(self._console.size.height - ROWS_BESIDE_TABLE, 3)
        order = sorted(self._records, key=lambda r: (_is_over(r), -(r.hmean or 0), r.trial))
        table = Table(box=None, pad_edge=False)
        for name in ("trial", "state", "epoch", "H-mean", "best", "time"):
            table.add_column(name, no_wrap=True)
        parameters = self._fitting(order[:room])
        for key in parameters:
            table.add_column(key.rpartition(".")[2], no_wrap=True)
        for record in order[:room]:
            table.add_row(*_cells(record, self._now.get(record.trial), self._epochs, parameters))
        if len(order) > room:
            table.add_row("", f"{len(order) - room} more")
        return table

    def _fitting(self, records: Sequence[TrialRecord]) -> list[str]:
        """The first searched settings, as many as the terminal is wide enough for."""
        room = self._console.size.width - FIXED_WIDTH
        fitting = []
        for key in self._parameters:
            cells = [_short(r.params.get(key)) for r in records]
            room -= max(map(len, [key.rpartition(".")[2], *cells])) + 2
            if room < 0:
                break
            fitting.append(key)
        return fitting


def _cells(
    record: TrialRecord, now: float | None, epochs: int, parameters: Sequence[str]
) -> list[str | Text]:
    minutes, seconds = divmod(int(record.seconds), 60)
    return [
        record.trial,
        Text(record.state.value, style=STYLES[record.state]),
        f"{record.epochs}/{epochs}",
        "" if now is None else f"{now:.4f}",
        "" if record.hmean is None else f"{record.hmean:.4f}",
        f"{minutes}:{seconds:02d}",
        *(Text(_short(record.params.get(key))) for key in parameters),
    ]


def _is_over(record: TrialRecord) -> bool:
    return record.state not in (TrialState.RUNNING, TrialState.PAUSED, TrialState.PENDING)


def _short(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else printable(str(value))
