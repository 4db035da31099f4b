"""The receipts that all trials of a search train on: found or made, and checked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detector.config.cli import log
from detector.config.sections import flatten
from detector.config.settings import DataConfig, TrainConfig
from detector.core.commands import command
from detector.core.errors import InputError
from detector.data.labels.annotations import read_split, require_words
from detector.data.labels.pages import LabelRules, Page, Split, evenly_spaced
from detector.data.labels.trained import WordSizes, apart, marks_of_others, thin_words, untrained
from detector.data.synthetic.receipts import synthesize
from orchestrator.config.settings import SearchConfig
from orchestrator.space.search_space import SearchSpace
from orchestrator.store.bucket import Bucket
from orchestrator.store.mirror import Mirror
from orchestrator.store.own_disk import local_copy

_WORD_SIZES = (
    *("data.longest_side_px", "preprocess.shortest_side_px"),
    *("preprocess.crop", "preprocess.crop_margin", "targets.min_side_px"),
)
DATA_SEED = 0  # of the synthetic receipts: the search's seed must not change its data


def copied_data(config: SearchConfig) -> dict[str, Any]:
    """data.root, as this machine's copy of a dataset that lies in a bucket; else nothing."""
    if config.data_from is None:
        return {}
    return {"data.root": str(local_copy(config.data_from, waits=()))}


def with_data(config: SearchConfig, space: SearchSpace) -> tuple[SearchConfig, SearchSpace]:
    """The space with an absolute data.root: trials may run in other working folders.

    Without a data.root synthetic receipts are made in `config.runs_dir`, once for all runs, and
    put into the run's bucket where there is one, from which each machine copies them then.
    """
    if not space.demo:
        root = Path(space.fixed["data.root"]).resolve()
        return config, space.with_fixed({"data.root": str(root)})
    train, val = space.fixed["data.train_pages"], space.fixed["data.val_pages"]
    name = f"synthetic-receipts-{train}-{val}"
    root = synthesize(
        (config.runs_dir / name).resolve(),
        images=train,
        val_images=val,
        seed=DATA_SEED,
        log=log,
    )
    if config.bucket is not None:
        there = Bucket(config.bucket).below(name)
        Mirror(root, there).push()
        config = config.model_copy(update={"data_from": there.url})
    return config, space.with_fixed({"data.root": str(root)})


def validation_pages(data: DataConfig) -> list[Page]:
    """The pages that trials were scored on, in the order of names; InputError without them."""
    return sorted(_of_trials(data, data.val_split, data.val_pages).pages, key=lambda p: p.name)


def training_pages(data: DataConfig) -> list[Page]:
    """The pages that trials were trained on; InputError without them."""
    train = _of_trials(data, data.train_split, data.train_pages)
    return [*apart(train, _of_trials(data, data.val_split, data.val_pages))[0].pages]


def training_split(data: DataConfig) -> Split:
    """All usable pages of the training split, whatever trials use of it; InputError without any."""
    return _of_trials(data, data.train_split, None)


def _of_trials(data: DataConfig, split: str, limit: int | None) -> Split:
    if data.root is None:
        raise InputError("data.root: the run does not say where its pages are")
    if not data.root.is_dir():
        raise InputError(f"{data.root}: the data are not there any more")
    rules = LabelRules(**data.rules())
    return read_split(data.root, split, limit=limit, exclude=data.exclude, rules=rules)


def check_data(space: SearchSpace) -> int:
    """How many pages a trial trains on; InputError with what is wrong in both splits."""
    data = DataConfig.model_validate(
        {k.removeprefix("data."): v for k, v in space.fixed.items() if k.startswith("data.")}
    )
    faults: list[str] = []
    splits: list[Split] = []
    sizes = _word_sizes(space)
    chosen_after = space.fixed.get("sweep.choose", False)
    for name in dict.fromkeys((data.train_split, data.val_split)):
        try:
            split = _checked(data, name, sizes)
            if name == data.val_split and chosen_after:
                _require_two(evenly_spaced(split.pages, data.val_pages or len(split.pages)), name)
            splits.append(split)
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("\n".join(dict.fromkeys(faults)))
    train, told = apart(splits[0], splits[-1])
    if told is not None:
        log(f"{train.name}: {told}")
    return min(len(train.pages), data.train_pages or len(train.pages))


def _checked(data: DataConfig, name: str, sizes: Sequence[WordSizes]) -> Split:
    """A split that something can be learnt from at one of the sizes; what it lacks is said."""
    assert data.root is not None
    split = read_split(data.root, name, exclude=data.exclude, rules=LabelRules(**data.rules()))
    largest = min(sizes, key=lambda one: len(thin_words(split, one)))
    require_words(split, data.root, largest)
    if (told := untrained(split, largest)) is not None:
        log(f"{name}: {told}")
    if (marks := marks_of_others(split, data.dont_care)) is not None:
        log(f"{name}: {marks}")
    if split.faults:
        log(
            f"{name}: {len(split.faults)} annotation faults, skipped; "
            f"{command('detector.inspect', {'data.root': data.root})} lists them"
        )
    return split


def _word_sizes(space: SearchSpace) -> list[WordSizes]:
    """The sizes of words in trials, of those that are searched at every value or end."""
    searched = [space.parameters[key] for key in _WORD_SIZES if key in space.parameters]
    known = flatten(TrainConfig().model_dump()) | space.fixed
    found = []
    for values in itertools.product(*(parameter.values for parameter in searched)):
        point = known | dict(zip((p.key for p in searched), values, strict=True))
        longest, shortest, cropped, margin, thinnest = (point[key] for key in _WORD_SIZES)
        found.append(WordSizes(longest, shortest, margin if cropped else None, thinnest))
    return found


def _require_two(pages: Sequence[Page], split: str) -> None:
    if len(pages) < 2:
        raise InputError(
            f"{split}: choosing post-processing settings after each training needs two validation "
            f"pages, got {len(pages)}; give more, or add postprocess=joint"
        )
