"""What a person sees during a search, and what is written when a trial ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import optuna
from ray.tune import Callback
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from detector.escape import printable, printable_lines
from detector.generations import forget_states
from orchestrator.results.leaderboard import best
from orchestrator.results.leaderboard_table import STYLES
from orchestrator.results.write import write_results
from orchestrator.run import study as store
from orchestrator.space.parameters import Parameter
from orchestrator.track.tensorboard import write_trial
from orchestrator.trials.pareto import SCORE_AND_SIZE, Objectives
from orchestrator.trials.records import METRIC, TrialRecord, TrialState

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


class Checking(Callback):
    """Calls `checks` several times a second; they may raise to end Tune's run."""

    def __init__(self, checks: Sequence[Callable[[], None]]) -> None:
        self._checks = checks

    def on_step_begin(self, **_: Any) -> None:  # type: ignore[override]
        for check in self._checks:
            check()

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore that is not used; a terminal cannot be."""
        return {}


class Recorder(Checking):
    """Keeps the view, the leaderboard, TensorBoard's HParams and `best/` up to date.

    `checks` are called several times a second and may raise to end the search, `reported` after
    each epoch and at the end of each trial. `forget` deletes what only a resume of a training
    needs from its checkpoint folder.
    """

    def __init__(
        self,
        study: optuna.Study,
        folder: Path,
        view: View,
        *,
        parameters: Mapping[str, Parameter],
        objectives: Objectives = SCORE_AND_SIZE,
        checks: Sequence[Callable[[], None]] = (),
        reported: Callable[[], None] = lambda: None,
        forget: Callable[[Path], None] = forget_states,
    ) -> None:
        super().__init__(checks)
        self._forget = forget
        self._reported = reported
        self._study, self._folder, self._view = study, folder, view
        self._space, self._parameters = dict(parameters), list(parameters)
        self._objectives = objectives
        self._started: set[str] = set()
        stopped = [r for r in store.read_records(study) if r.state is TrialState.STOPPED]
        self._cleaned = {record.trial for record in stopped}

    def on_trial_start(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        self._started.add(store.trial_id(trial.config["number"]))
        self._view.show(self._records())

    def on_trial_result(  # type: ignore[override]
        self, *, trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        records = self._records()
        self._view.show(records)
        score = result.get(METRIC)
        if score is None:
            return
        # Tune shows callbacks a trial's last report before the study has it.
        record = replace(
            _find(records, trial),
            hmean=float(score),
            epochs=int(result.get("epoch", 0)),
            seconds=float(result.get("seconds", 0)),
        )
        self._view.epoch(record, float(result.get("hmean", score)))
        self._reported()

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        self._over(trial)

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        self._started.discard(store.trial_id(trial.config["number"]))
        record = _find(self._records(), trial)
        if record.state is TrialState.FAILED:
            self._over(trial)
        else:
            self._view.say(
                f"trial {record.trial}  its worker was lost; it continues after its last epoch"
            )

    def _over(self, trial: Any) -> None:
        self._started.discard(store.trial_id(trial.config["number"]))
        records = self._records()
        self._view.show(records)
        record = _find(records, trial)
        self._view.end(record)
        if record.state in (TrialState.FINISHED, TrialState.FAILED):
            write_trial(Path(trial.config["folder"]), record, self._space)
        self._clean(records)
        write_results(self._folder, records, self._parameters, self._objectives)
        self._reported()

    def close(self) -> None:
        """Write the results once more, since trials that were paused to the end are over now."""
        records = self._records()
        self._clean(records)
        write_results(self._folder, records, self._parameters, self._objectives)

    def _clean(self, records: Sequence[TrialRecord]) -> None:
        """Nothing continues a stopped trial, and its optimizer state is the largest file."""
        stopped = {r.trial: r for r in records if r.state is TrialState.STOPPED}
        for name in sorted(stopped.keys() - self._cleaned):
            folder = self._folder / "trials" / store.folder_of(self._study, name)
            write_trial(folder, stopped[name], self._space)
            self._forget(folder / "checkpoint")
            self._cleaned.add(name)

    def _records(self) -> list[TrialRecord]:
        """The study's records, told apart by whether a worker has them now."""
        return [self._as_seen_here(record) for record in store.read_records(self._study)]

    def _as_seen_here(self, record: TrialRecord) -> TrialRecord:
        if record.state is TrialState.PAUSED and record.trial in self._started:
            return replace(record, state=TrialState.RUNNING)
        if record.state is TrialState.RUNNING and record.trial not in self._started:
            return replace(record, state=TrialState.PENDING)
        return record


def _find(records: Sequence[TrialRecord], trial: Any) -> TrialRecord:
    name = store.trial_id(trial.config["number"])
    return next(r for r in records if r.trial == name)


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
