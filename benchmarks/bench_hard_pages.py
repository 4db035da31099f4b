"""Whether pages with more words missed should be seen more often in a training.

`python benchmarks/bench_hard_pages.py data=receipts [folder=next-pages] [start=lite0] [epochs=3]
[labelled=60] [hard=20] [times=3] [seeds=3] [minutes=…]` trains a detector on `labelled` pages drawn
at random, scores it on these pages, and trains another one from the start, by as many steps, that
sees the `hard` pages with the lowest H-mean `times` times as often as the others. Both are scored
on the validation pages. The first training is that of `bench_next_pages.py` and is not made again
where `folder` has it; the options that both have mean the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from bench_next_pages import DEFAULTS as NEXT
from bench_next_pages import NOTHING, compared, every_seed, lines
from timing import run

from detector.config.settings import DataConfig
from orchestrator.page_parts.scores import scored
from orchestrator.run.trial_data import training_pages

DEFAULTS = {key: value for key, value in NEXT.items() if key not in ("more", "fewer")}
DEFAULTS |= {"hard": 20, "times": 3}
OFTEN = "hard pages more often"


def hardest(page_hmeans: Mapping[str, float], count: int) -> list[str]:
    """The pages with the lowest H-mean, the lowest first; of equal ones the first by name."""
    return sorted(page_hmeans, key=lambda name: (page_hmeans[name], name))[:count]


def main(options: dict[str, Any]) -> None:
    scores = []
    for trainings in every_seed(options | {"more": 0}):
        first = trainings.trained(NOTHING, [])
        place = trainings.folder / NOTHING
        pages = training_pages(DataConfig(root=place / "data"))
        own = scored(place / "training" / "checkpoint" / "best", pages)
        hard = hardest(own.page_hmeans, options["hard"])
        often = trainings.trained(OFTEN, hard * (options["times"] - 1))
        scores.append({NOTHING: first, OFTEN: often})
        name = trainings.folder.name
        print(f"{name}: {first.hmean:.4f}, {OFTEN}: {often.hmean:.4f}", flush=True)
    print("\n".join(lines(scores)), "\n")
    print(compared(scores, OFTEN, NOTHING))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    run(main, DEFAULTS, __doc__ or "")
