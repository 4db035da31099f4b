"""A table of real trainings, and what a search that replays them is measured by.

The table holds every epoch of every training at every post-processing setting (see
`record_trainings.py`), so a replayed search is told the scores that it would have seen, and what
its best model is worth can be looked up. There are two kinds. One has every combination of a few
values, so that any proposal is one of its trainings. The other has trainings at points drawn from
ranges: a proposal stands for one that was recorded (`stand_in.py`). Nothing here knows of Ray.
"""

from __future__ import annotations

import itertools
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stand_in import StandIns, row_finder

from detector.core.errors import InputError
from orchestrator.space.parameters import Parameter, read_parameter

LEVELS = 65535
MARGIN = 0.002
CURVE_EPOCHS = (10, 20, 40, 80, 160, 320)
RESAMPLES = 10_000
KEYS = ("configs", "settings", "about", "hmeans")
RANGES, SEEDS = "ranges", "seeds"  # of tables whose trainings were drawn alone
UNITS = ("epochs", "seconds")


@dataclass(frozen=True, eq=False)
class Table:
    """C trainings of E epochs, each epoch scored at S post-processing settings.

    configs: the C points. Without `ranges` they are every combination of their values once.
    settings: the S settings, every combination of their values once.
    hmeans: `(C, E, 2, S)` float64 in [0, 1], the H-mean of two halves of the pages.
    about: what the trainings share.
    ranges: the settings of a training that were drawn from a range.
    costs: `(C, E)` float64, what each epoch counts; None is 1 each.
    margin: H-mean below the table's best that counts as having reached it.
    """

    configs: tuple[dict[str, Any], ...]
    settings: tuple[dict[str, float], ...]
    hmeans: NDArray[np.float64]
    about: dict[str, Any]
    ranges: tuple[Parameter, ...] = ()
    costs: NDArray[np.float64] | None = None
    margin: float = MARGIN

    def cost(self, row: int, index: int) -> float:
        """What an epoch of a training counts, the first one at index 0."""
        return 1.0 if self.costs is None else float(self.costs[row, index])

    @cached_property
    def space(self) -> tuple[Parameter, ...]:
        """What a search chooses of a training: the ranges, and choices for all else."""
        ranges = {parameter.key: parameter for parameter in self.ranges}
        return tuple(ranges.get(one.key, one) for one in choices(self.configs))

    @cached_property
    def setting_space(self) -> tuple[Parameter, ...]:
        """What a search chooses of post-processing, where that is drawn too."""
        return choices(self.settings)

    def searched(self, *, nested: bool) -> tuple[Parameter, ...]:
        """What a search draws: the training, and the post-processing too unless `nested`."""
        return self.space if nested else self.space + self.setting_space

    def stand_ins(self) -> StandIns:
        """The trainings for the points of one search, see `stand_in.py`."""
        return StandIns(
            self.configs, row_finder(self.configs, {parameter.key for parameter in self.ranges})
        )

    @property
    def epochs(self) -> int:
        """The length of a training."""
        return self.hmeans.shape[1]

    @cached_property
    def whole(self) -> NDArray[np.float64]:
        """`(C, E, S)` H-mean over all pages."""
        return self.hmeans.mean(axis=2)

    @cached_property
    def shipped(self) -> NDArray[np.float64]:
        """`(C, E)` H-mean over all pages at the setting that is best there."""
        return self.whole.max(axis=2)

    @cached_property
    def crossfit(self) -> NDArray[np.float64]:
        """`(C, E)` mean of each half at the setting with the highest H-mean on the other half.

        The detector chooses the tightest boxes among settings that are alike; a table of H-means
        knows none.
        """
        choices = self.hmeans.argmax(axis=3)
        unseen = np.take_along_axis(self.hmeans[:, :, ::-1], choices[..., None], axis=3)
        return unseen[..., 0].mean(axis=2)

    @property
    def best(self) -> float:
        """The largest H-mean over all trainings, epochs and settings."""
        return float(self.shipped.max())

    @property
    def target(self) -> float:
        """What a search's model must have for the search to be over."""
        return self.best - self.margin

    def facts(self) -> dict[str, float | int]:
        """How hard the table is, and what knowing all of it would ship.

        configs_within, pairs_within: trainings, and share of (training, setting) pairs, that come
            within the margin of the best in some epoch.
        crossfit_ships: H-mean over all pages of the epoch with the best cross-fitted score.
        """
        within = self.whole.max(axis=1) >= self.target
        chosen = np.unravel_index(int(self.crossfit.argmax()), self.crossfit.shape)
        return {
            "configs": len(self.configs),
            "epochs": self.epochs,
            "settings": len(self.settings),
            "best": self.best,
            "configs_within": int(within.any(axis=1).sum()),
            "pairs_within": float(within.mean()),
            "crossfit_ships": float(self.shipped[chosen]),
        }


def read_table(path: Path, unit: str = "epochs") -> Table:
    """The table that `record_trainings.py` wrote; InputError when it is not one, or not whole.

    Of a configuration that was trained with several seeds it has the first one's training. With
    the unit `seconds` an epoch counts by the processor time that it took, in those of the mean
    epoch of the table.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in KEYS}
            ranges = json.loads(str(file[RANGES])) if RANGES in file else {}
            first = file[SEEDS] == 0 if SEEDS in file else slice(None)
            costs = None if unit == "epochs" else _relative(file["seconds"][first])
        configs, settings, about = (json.loads(str(found[key])) for key in KEYS[:3])
        drawn = tuple(read_parameter(key, spec) for key, spec in ranges.items())
    except FileNotFoundError:
        raise InputError(f"table: {path} does not exist; record_trainings.py makes one") from None
    except (OSError, KeyError, ValueError, InputError, zipfile.BadZipFile) as error:
        raise InputError(
            f"table: {path} is no table of record_trainings.py ({error}); record one"
        ) from None
    hmeans = found["hmeans"]
    expected = (len(configs), hmeans.shape[1] if hmeans.ndim == 4 else 0, 2, len(settings))
    if hmeans.shape != expected or not hmeans.size:
        raise InputError(
            f"table: {path}: hmeans must be (configs, epochs, 2, settings), got {hmeans.shape} "
            f"for {len(configs)} configs and {len(settings)} settings; record it again"
        )
    if not drawn:
        _require_every_combination(path, "trainings", configs)
    _require_every_combination(path, "settings", settings)
    points = np.array(configs)[first].tolist()
    return Table(tuple(points), tuple(settings), hmeans[first] / LEVELS, about, drawn, costs)


def _relative(seconds: NDArray[np.floating]) -> NDArray[np.float64]:
    """The seconds of each epoch over their mean, from `(C, E)` seconds of all epochs so far."""
    each = np.diff(seconds.astype(np.float64), axis=1, prepend=0)
    if not each.any():
        raise ValueError("its trainings took no time")
    return each / each[each > 0].mean()  # those behind one that broke down took none


def choices(points: Sequence[Mapping[str, Any]]) -> tuple[Parameter, ...]:
    """Every key of the points with all of its values."""
    return tuple(Parameter(key, "choice", values) for key, values in axes(points).items())


def axes(points: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """The different values of each key, in the order of the points."""
    return {key: tuple(dict.fromkeys(point[key] for point in points)) for key in points[0]}


def _require_every_combination(path: Path, kind: str, points: Sequence[Mapping[str, Any]]) -> None:
    """A search may ask for any of them."""
    values = axes(points)
    there = {tuple(point[key] for key in values) for point in points}
    every = itertools.product(*values.values())
    missing = sum(point not in there for point in every)
    if missing or len(there) != len(points):
        raise InputError(
            f"table: {path} must hold every combination of its values once, got {len(points)} "
            f"{kind} with {missing} combinations missing; let the recording end"
        )


@dataclass(frozen=True)
class Arrival:
    """A trained epoch, when the search heard of it.

    score: what the trial reported for this epoch, by which the search compares.
    worth: H-mean over all pages of the model that would be shipped from it.
    cost: what it counts.
    """

    score: float
    worth: float
    cost: float = 1.0


class Yardstick:
    """Counts the epochs of a search, and watches the model that it would ship."""

    def __init__(self, target: float, cap: float) -> None:
        self.target, self.cap = target, cap
        self.worths: list[float] = []  # of the incumbent after each epoch
        self._spent: list[float] = []  # up to the end of each epoch
        self._incumbent: Arrival | None = None

    def add(self, arrival: Arrival) -> None:
        """One more epoch was trained; of equal scores the first stays the incumbent."""
        if self._incumbent is None or arrival.score > self._incumbent.score:
            self._incumbent = arrival
        self.worths.append(self._incumbent.worth)
        self._spent.append(self.spent + arrival.cost)

    @property
    def spent(self) -> float:
        """What all epochs count so far."""
        return self._spent[-1] if self._spent else 0.0

    @property
    def reached(self) -> bool:
        """Whether the incumbent is good enough."""
        return self._incumbent is not None and self._incumbent.worth >= self.target

    @property
    def over(self) -> bool:
        """Whether there is nothing more to learn: reached, or at the cap."""
        return self.reached or self.spent >= self.cap

    def curve(self) -> list[float | None]:
        """The incumbent's H-mean after `CURVE_EPOCHS`; where the search was over, its last one.

        None before the first epoch is over.
        """
        done = np.searchsorted(self._spent, CURVE_EPOCHS, side="right").tolist()
        return [self.worths[count - 1] if count else None for count in done]


@dataclass(frozen=True)
class Outcome:
    """One replayed search.

    epochs: trained until it was over, or what they count. counted: the same where it reached the
    target; otherwise the cap, as a lower bound of what it would have taken.
    """

    seed: int
    epochs: float
    reached: bool
    counted: float
    curve: list[float | None]
    seconds: float


def spread(counts: Sequence[float]) -> list[float]:
    """Minimum, lower quartile, median, upper quartile, maximum."""
    return [float(np.percentile(counts, percent)) for percent in (0, 25, 50, 75, 100)]


@dataclass(frozen=True)
class Ratio:
    """A ratio of two groups' figures with the 95 % interval of a bootstrap over seeds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Ratio]:
    """Epochs of `ours` over those of `theirs`, by medians and by means.

    Each group's seeds are drawn anew on their own: equal seeds of two policies share nothing.
    """
    rng = np.random.default_rng(0)
    groups = [np.asarray(counts, float) for counts in (ours, theirs)]
    drawn = [group[rng.integers(len(group), size=(RESAMPLES, len(group)))] for group in groups]
    found = {}
    for name, figure in (("medians", np.median), ("means", np.mean)):
        value = figure(groups[0]) / figure(groups[1])
        resampled = figure(drawn[0], axis=1) / figure(drawn[1], axis=1)
        low, high = np.percentile(resampled, (2.5, 97.5))
        found[name] = Ratio(float(value), float(low), float(high))
    return found
