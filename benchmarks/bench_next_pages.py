"""Whether pages that `detector.inspect` chooses to be labelled teach more than pages at random.

`python benchmarks/bench_next_pages.py data=receipts [folder=next-pages] [start=lite0] [epochs=3]
[labelled=60] [more=60] [fewer=36] [seeds=3] [minutes=…]` has `labelled` pages drawn at random, and
trains a detector on them. By its best weights the `more` pages of the others that teach most are
chosen, as `python -m detector.inspect images=… checkpoint=…` does, and as many are drawn at random.
Then it trains from the start on the labelled pages with the first `fewer` and with all `more` of
either kind. Chosen pages have kept their promise where the `fewer` of them reach what the `more`
random ones give.

Every training takes the same number of steps, `epochs` over all pages, and is scored on the
validation pages, which take no part in any choice. It stays in `folder`: what was stopped, or ended
after `minutes`, goes on where it was. `start` as in `bench_pages.py`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_pages import FIXED, STARTS, result
from linked import Page, labels_of, link
from numpy.typing import NDArray
from timing import run

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.core.files import write_text
from detector.inference.detector import load_detector
from detector.review.next_list import choose_pages
from orchestrator.page_parts.parts import same_steps
from orchestrator.page_parts.scores import Scored

DEFAULTS = {
    "data": None,
    "folder": "next-pages",
    "start": "lite0",
    "epochs": 3,
    "labelled": 60,
    "more": 60,
    "fewer": 36,
    "seeds": 3,
    "minutes": 10_000,
}
NOTHING, RANDOM, CHOSEN = "nothing", "random", "chosen"


def drawn(names: Sequence[str], labelled: int, seed: int) -> tuple[list[str], list[str]]:
    """The labelled pages, and all others in the order in which they come at random."""
    order = np.random.default_rng(seed).permutation(len(names))
    mixed = [names[place] for place in order]
    return mixed[:labelled], mixed[labelled:]


def parts(others: Sequence[str], chosen: Sequence[str], fewer: int) -> dict[str, list[str]]:
    """The pages that are added, by what they are called in the table; as many of either kind."""
    added: dict[str, list[str]] = {NOTHING: []}
    for kind, pages in ((RANDOM, others[: len(chosen)]), (CHOSEN, chosen)):
        for count in (fewer, len(pages)):
            added[f"{count} {kind}"] = list(pages[:count])
    return added


def chosen_by(best: Path, images: Path, others: Sequence[str], count: int, kept: Path) -> list[str]:
    """The `count` pages that the detector in `best` would have labelled next; kept in a file."""
    if not kept.is_file():
        detector, _ = load_detector(best)
        found = choose_pages(detector, {name: images / name for name in others}, count)
        write_text(kept, json.dumps([choice.name for choice in found.choices]))
    names: list[str] = json.loads(kept.read_text(encoding="utf-8"))
    return names


def lines(scores: Sequence[Mapping[str, Scored]]) -> list[str]:
    """The table: a row for each set of pages, with its H-mean of each seed and their mean."""
    rows = [f"| added | {' | '.join(f'seed {seed}' for seed in range(len(scores)))} | mean | IoU |"]
    rows.append("|---" * (len(scores) + 3) + "|")
    for name in scores[0]:
        hmeans = [one[name].hmean for one in scores]
        iou = np.mean([one[name].iou_hmean for one in scores])
        each = " | ".join(f"{hmean:.4f}" for hmean in hmeans)
        rows.append(f"| {name} | {each} | {np.mean(hmeans):.4f} | {iou:.4f} |")
    return rows


def compared(scores: Sequence[Mapping[str, Scored]], first: str, second: str) -> str:
    """How much the first is ahead, in the mean of seeds, with an interval over seeds and pages."""
    names = sorted(set.intersection(*(set(s.page_hmeans) for one in scores for s in one.values())))
    ahead = np.array(
        [
            [one[first].page_hmeans[name] - one[second].page_hmeans[name] for name in names]
            for one in scores
        ]
    )
    low, high = np.quantile(_drawn_again(ahead), (0.025, 0.975))
    return f"{first} less {second}: {ahead.mean():+.4f} ({low:+.4f} to {high:+.4f})"


def _drawn_again(ahead: NDArray[np.float64], draws: int = 10_000) -> NDArray[np.float64]:
    """Means of `(seeds, pages)` with both drawn with replacement."""
    rng = np.random.default_rng(0)
    seeds, pages = ahead.shape
    weights = rng.multinomial(pages, np.full(pages, 1 / pages), draws) / pages
    trained = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds
    means: NDArray[np.float64] = np.einsum("ds,sp,dp->d", trained, ahead, weights)
    return means


class Trainings:
    """The trainings of one seed: the same labelled pages, and others that are added to them."""

    def __init__(self, options: Mapping[str, Any], data: Path, seed: int, until: float) -> None:
        self.labels = labels_of(data, ("train", "val"))
        names = sorted(name for split, name in self.labels if split == "train")
        if len(names) < options["labelled"] + options["more"]:
            raise InputError(
                f"data: {len(names)} training pages are fewer than "
                f"labelled={options['labelled']} and more={options['more']}; give smaller ones"
            )
        self.base, self.others = drawn(names, options["labelled"], seed)
        self.data, self.until, self.pages = data, until, len(names)
        start, epochs = options["start"], options["epochs"]
        name = f"{start}-{epochs}-{options['labelled']}-{seed}"
        self.folder = Path(options["folder"]).resolve() / name
        own = {"train.epochs": epochs, "train.seed": seed, "data.cache": str(self.folder / "cache")}
        self.whole = with_values(TrainConfig(), FIXED | STARTS[start] | own)

    def scores(self, more: int, fewer: int) -> dict[str, Scored]:
        """Of all sets of pages, or what is kept of them; the first one chooses for the others."""
        scores = {NOTHING: self.trained(NOTHING, [])}
        best = self.folder / NOTHING / "training" / "checkpoint" / "best"
        kept = self.folder / f"chosen-{more}.json"
        chosen = chosen_by(best, self.data / "images" / "train", self.others, more, kept)
        for name, added in parts(self.others, chosen, fewer).items():
            scores[name] = scores.get(name) or self.trained(name, added)
            print(f"{self.folder.name}, {name}: H-mean {scores[name].hmean:.4f}", flush=True)
        return scores

    def trained(self, name: str, added: Sequence[str]) -> Scored:
        """A training on the labelled pages with those that are added."""
        place = self.folder / name.replace(" ", "-")
        seen: list[Page] = [("train", page) for page in (*self.base, *added)]
        validation = [page for page in self.labels if page[0] == "val"]
        splits = {"train": seen, "val": validation}
        root = link(place / "data", self.data, self.labels, splits)
        own = {"data.root": str(root)} | same_steps(self.whole, len(seen), self.pages)
        return result(with_values(self.whole, own), place / "training", self.until)


def every_seed(options: Mapping[str, Any]) -> list[Trainings]:
    """The trainings of each seed, none made yet; InputError for options that cannot be."""
    torch.set_num_threads(1)
    until = time.monotonic() + 60 * options["minutes"]
    if options["data"] is None:
        raise InputError("data: must be given, a folder of labelled receipts")
    if options["start"] not in STARTS:
        raise InputError(f"start: one of {', '.join(STARTS)}, got {options['start']!r}")
    data = Path(options["data"]).resolve()
    return [Trainings(options, data, seed, until) for seed in range(options["seeds"])]


def main(options: dict[str, Any]) -> None:
    fewer, more = options["fewer"], options["more"]
    scores = [trainings.scores(more, fewer) for trainings in every_seed(options)]
    print("\n".join(lines(scores)), "\n")
    print(compared(scores, f"{fewer} {CHOSEN}", f"{more} {RANDOM}"))
    print(compared(scores, f"{more} {CHOSEN}", f"{more} {RANDOM}"))
    print(compared(scores, f"{more} {RANDOM}", NOTHING))


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    run(main, DEFAULTS, __doc__ or "")
