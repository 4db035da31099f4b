"""Parts of the training pages, each within the next, and how a training on one is made.

A part is thinned as `data.train_pages` does it, evenly over the pages in the order of their names,
so that each part has pages from everywhere. Every second one of a part is the part of half the
size, so parts that double lie within each other.

Trainings on a part take as many steps as one on all pages, and are validated as often: each part
has as many times the epochs as it has fewer pages. With the same epochs instead, a quarter of the
pages would be trained for a quarter of the time, and what the curve shows would be the length of
the training as much as the pages.
"""

from __future__ import annotations

import math
from typing import Any

from detector.config.settings import TrainConfig
from detector.core.errors import InputError

MOST_HALVINGS = 3
LEAST_PAGES = 4  # of all: a quarter of them is one page


def sizes(pages: int, of: int, halvings: int) -> list[int]:
    """The sizes of parts within each other, smallest first; the last is the whole.

    The whole is `pages` of a split of `of`, or a few less where only so the parts lie within it:
    all pages of a split hold any part. Raises InputError below `LEAST_PAGES`, and for more
    halvings than there are pages for.
    """
    smallest = pages >> halvings
    if pages < LEAST_PAGES or smallest < 1:
        raise InputError(
            f"run: its best trial was trained on {pages} pages, and a curve over halves and "
            f"quarters needs {max(LEAST_PAGES, 1 << halvings)} at least; label more pages first"
        )
    whole = pages if pages == of else smallest << halvings
    return [*(smallest << step for step in range(halvings)), whole]


def same_steps(config: TrainConfig, pages: int, whole: int) -> dict[str, Any]:
    """The settings that make `config`, a training on `whole` pages, one on a part of them."""
    times = max(1, round(_steps(config, whole) / _steps(config, pages)))
    return {
        "data.train_pages": pages,
        "train.epochs": config.train.epochs * times,
        "train.eval_every": config.train.eval_every * times,
        "optimizer.warmup_epochs": config.optimizer.warmup_epochs * times,
        "optimizer.freeze_epochs": config.optimizer.freeze_epochs * times,
    }


def _steps(config: TrainConfig, pages: int) -> int:
    """Of an epoch."""
    return math.ceil(pages / config.train.batch_size)
