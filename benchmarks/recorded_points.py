"""Which trainings a table is made of: a grid of few values, points drawn from ranges, a few to try.

Points of the second kind are the Sobol sequence without scrambling, so they are the same with any
release of any library, and each beginning of it fills the space evenly. A recording that is
stopped has therefore a table that is only smaller.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scipy.stats.qmc import Sobol

# What the search of the grid is about: a factor that matters much, one that matters a little, two
# that matter with others, as in a space whose answer is not known.
SPACE: dict[str, tuple[Any, ...]] = {
    "model.backbone": ("tf_efficientnet_lite0", "mobilenetv3_small_100"),
    "model.fusion": ("scale_channel_spatial", "none"),
    "optimizer.lr": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
    "loss.negative_ratio": (2.0, 5.0),
}
# Two backbones with published weights, two from scratch, which no one would choose knowing that.
CHOICES: dict[str, tuple[Any, ...]] = {
    "model.backbone": (
        "tf_efficientnet_lite0",
        "mobilenetv3_small_100",
        "tf_efficientnet_lite1",
        "resnet10t",
    ),
    "data.longest_side_px": (512, 640),
    "model.fusion": ("scale_channel_spatial", "none"),
}
# Those of search_spaces/dbnetpp.yaml, with rates that are too large as well.
RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "optimizer.lr": {"log_uniform": (5e-4, 1.6e-2)},
    "loss.negative_ratio": {"uniform": (2.0, 5.0)},
    "loss.probability_weight": {"uniform": (2.0, 8.0)},
    "loss.threshold_weight": {"uniform": (5.0, 15.0)},
    "loss.binary_weight": {"uniform": (0.5, 2.0)},
}
FIXED: dict[str, Any] = {
    "data.longest_side_px": 640,
    "augment.crop_px": 320,
    "augment.scale_min": 0.8,
    "augment.scale_max": 1.2,
    "model.neck_channels": 96,
    "train.batch_size": 4,
    "train.device": "cpu",
    "train.threads": 1,
    "postprocess.box_thresh": 0.5,
}
# The best epoch is that with the best cross-fitted score, as in a search; one process a training.
CHOSEN: dict[str, Any] = {"sweep.choose": True, "data.workers": 0}
# The settings of post-processing that the table is about: every combination, which a replay needs.
TRIED: dict[str, tuple[Any, ...]] = {
    "thresh": (0.2, 0.3, 0.4),
    "unclip_ratio": (1.2, 1.4, 1.6, 1.8, 2.0),
    "box_thresh": tuple(i / 100 for i in range(30, 81, 5)),
}
Point = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A training: its settings by dotted name, and its seed."""

    point: Point
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """The trainings of a table in their order, and what they share.

    ranges: of the settings that were drawn, as in a space file; empty where the trainings are every
    combination of their values. heldout_pages are scored at the settings that others chose.
    """

    tasks: tuple[Task, ...]
    epochs: int
    train_pages: int
    val_pages: int
    heldout_pages: int = 0
    fixed: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, Any] = field(default_factory=dict)


def grid() -> list[Point]:
    """Every combination of `SPACE`; those of a light backbone and a heavy one take turns."""
    reversed_keys = list(SPACE)[::-1]
    return [
        dict(sorted(zip(reversed_keys, values, strict=True)))
        for values in itertools.product(*(SPACE[key] for key in reversed_keys))
    ]


def drawn(count: int) -> list[Point]:
    """The first points of a Sobol sequence over `CHOICES` and `RANGES`, rounded to four digits."""
    sequence = Sobol(len(CHOICES) + len(RANGES), scramble=False)
    sequence.fast_forward(1)  # the first point has every setting at its lower end
    return [_point(place) for place in sequence.random(count).tolist()]


def _point(place: list[float]) -> Point:
    point: Point = {}
    for (key, values), at in zip(CHOICES.items(), place, strict=False):
        point[key] = values[int(at * len(values))]
    for (key, spec), at in zip(RANGES.items(), place[len(CHOICES) :], strict=True):
        ((kind, (low, high)),) = spec.items()
        value = low * (high / low) ** at if kind == "log_uniform" else low + (high - low) * at
        point[key] = float(f"{value:.4g}")
    return point


def with_second_seeds(points: list[Point], every: int) -> tuple[Task, ...]:
    """A training of each point; after `every` of them one of these once more, with another seed.

    Which one takes turns, as every sixth point of the sequence has some choices in common.
    """
    tasks = []
    for number, point in enumerate(points, 1):
        tasks.append(Task(point))
        if number % every == 0:
            tasks.append(Task(points[number - 1 - number // every % every], seed=1))
    return tuple(tasks)


def _tiny() -> tuple[Task, ...]:
    """Two small trainings, one of them with two seeds."""
    points = [point | {"model.backbone": "mobilenetv3_small_050"} for point in drawn(2)]
    return with_second_seeds(points, 2)


PLANS: dict[str, Plan] = {
    "grid": Plan(
        tuple(map(Task, grid())),
        epochs=9,
        train_pages=48,
        val_pages=20,
        fixed=FIXED | CHOSEN,
    ),
    "drawn": Plan(
        with_second_seeds(drawn(120), 6),
        epochs=12,
        train_pages=48,
        val_pages=30,
        heldout_pages=60,
        fixed=FIXED | CHOSEN,
        ranges=RANGES,
    ),
    "tiny": Plan(
        _tiny(),
        epochs=2,
        train_pages=4,
        val_pages=4,
        heldout_pages=3,
        fixed=FIXED | CHOSEN | {"augment.crop_px": 64, "model.neck_channels": 16},
        ranges=RANGES,
    ),
}
