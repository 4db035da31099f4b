"""The settings of a search: what it runs, where it keeps it, and what it may spend."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from detector.config.sections import Section, flatten
from orchestrator.config.budget import BudgetConfig, OptionalCount
from orchestrator.config.tracker_names import TrackerNames
from orchestrator.store.bucket import address_fault, is_url
from orchestrator.trials.pareto import FIGURES, SCORE_AND_SIZE, Objectives, as_objectives

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ResourcesConfig(Section):
    gpu: Literal["auto", "whole"] = Field(
        "whole",
        description="auto = as many trials on a GPU as its memory holds by a step measured before "
        "the search; whole = one, or gpus_per_trial",
    )
    gpus_per_trial: float | None = Field(
        None,
        ge=0,
        description="may be a fraction; with several a trial has a process for each; null = 1 if "
        "there is a GPU, else 0",
    )
    cpus_per_trial: OptionalCount = Field(
        None, description="CPU cores, and torch threads, of a trial; null = an even share"
    )

    @field_validator("gpus_per_trial")
    @classmethod
    def _check_gpus(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError(
                "above 1 it must be a whole number: a trial shares one GPU or owns some"
            )
        return value

    @model_validator(mode="after")
    def _check(self) -> ResourcesConfig:
        if self.gpu == "auto" and self.gpus_per_trial is not None:
            raise ValueError(
                "gpu=auto chooses the share of a GPU, and gpus_per_trial="
                f"{self.gpus_per_trial:g} gives it; leave one of them out"
            )
        return self


class ConfirmConfig(Section):
    top: int = Field(
        0, ge=0, description="leaders trained again with new seeds after the search; 0 = none"
    )
    seeds: int = Field(
        3, ge=1, description="new seeds for each leader; the mean over them ranks the leaders"
    )


class SearchSection(Section):
    postprocess: Literal["nested", "joint"] | None = Field(
        None,
        description="nested: post-processing settings are chosen after each training, by its "
        "sweep; joint: they are sampled like the others; null = nested, unless the space fixes "
        "sweep.choose=false. postprocess=MODE for short",
    )
    scheduler: Literal["promote", "asha"] = Field(
        "promote",
        description="promote: trials pause at rungs and the best go on; asha: the others are "
        "stopped for good",
    )
    objectives: tuple[str, ...] = Field(
        ("hmean",),
        description="what is to be good together: hmean, and others out of "
        f"{', '.join(f for f in FIGURES if f != 'hmean')}; a trade-off has no best trial but a "
        "Pareto front, which the leaderboard marks",
    )
    sampler: Literal["gp", "tpe"] = Field(
        "gp",
        description="what proposes settings: a Gaussian process that learns from paused trials "
        "too, or Optuna's TPE, which it is with several objectives",
    )
    compare: Literal["epochs", "cost"] = Field(
        "epochs",
        description="what trials at a rung have in common: the epochs, or the arithmetic, so that "
        "larger models have trained for fewer (with scheduler=promote)",
    )
    hopeless: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a trial is stopped when its best H-mean is below this share of what most "
        "others had after half as many epochs, or is 0 while its loss does not fall as theirs did; "
        "0 = none is",
    )
    narrow: dict[str, Any] = Field(
        {},
        description="the part of a searched setting to keep: choices, or [low, high], such as "
        "search.narrow.model.backbone=[resnet18] search.narrow.optimizer.lr=[1e-3,2e-3]",
    )

    @field_validator("objectives", mode="before")
    @classmethod
    def _check_objectives(cls, value: Any) -> Any:
        figures = [value] if isinstance(value, str) else value
        if isinstance(figures, list | tuple):
            unknown = [str(figure) for figure in figures if figure not in FIGURES]
            if unknown or "hmean" not in figures or len(set(figures)) < len(figures):
                raise ValueError(f"must be hmean and others out of {', '.join(FIGURES)}, each once")
        return figures

    @field_validator("narrow")
    @classmethod
    def _as_lists(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Lists by dotted name, so that equal wishes are equal in a stored run too."""
        return {k: v if isinstance(v, list) else [v] for k, v in flatten(value).items()}

    def trade_off(self) -> Objectives:
        """What the Pareto front is of: H-mean and size where only H-mean is sought."""
        return as_objectives(self.objectives) if len(self.objectives) > 1 else SCORE_AND_SIZE


class SearchConfig(Section):
    """One search. Detector settings given beside it are fixed for every trial."""

    space: str = Field(
        min_length=1, description="a shipped space's name or the PATH of a YAML file"
    )
    name: str | None = Field(
        None, description="run folder below runs_dir; null = the space's name and the time"
    )
    runs_dir: Path = Field(Path("runs"), description="folder of all runs")
    resume: bool | Literal["auto"] = Field(
        False,
        description="continue the interrupted run called name; auto = begin it if there is none",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="fixes what the sampler proposes")
    storage: str | None = Field(
        None,
        min_length=1,
        description="where the study is kept: an SQLAlchemy URL such as "
        "postgresql+psycopg://USER@HOST/DATABASE, journal (study.journal in the run folder) or "
        "journal:PATH; null = study.db (SQLite) in the run folder",
    )
    bucket: str | None = Field(
        None,
        description="where trials keep their folders when machines share none: s3://BUCKET/KEY, "
        "or another address that pyarrow's file systems know; null = the run folder",
    )
    data_from: str | None = Field(
        None,
        description="a dataset's address in a bucket, copied once to each machine; "
        "data.root=s3://BUCKET/KEY for short",
    )
    warm_start: str | None = Field(
        None,
        min_length=1,
        description="points to try first: published (five contest entries' tables) or the "
        "FOLDER of another run; null = the space's own only",
    )
    track: TrackerNames = Field(
        (),
        description="trackers told of every trial beside TensorBoard: track=[mlflow,wandb]; "
        "they keep to the run folder unless their own environment variables name a server",
    )
    dry_run: bool = Field(
        False, description="show the space and ten sampled configurations, and start nothing"
    )
    search: SearchSection = SearchSection()
    budget: BudgetConfig = BudgetConfig()
    confirm: ConfirmConfig = ConfirmConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @field_validator("runs_dir", mode="before")
    @classmethod
    def _check_runs_dir(cls, value: Any) -> Any:
        if is_url(value):
            raise ValueError(
                f"must be a folder of the search's own machine; for what machines share, "
                f"give bucket={value}"
            )
        return value

    @field_validator("bucket", "data_from")
    @classmethod
    def _check_address(cls, value: str | None) -> str | None:
        if value is not None and (fault := address_fault(value)):
            raise ValueError(fault)
        return value

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str | None) -> str | None:
        if value is not None and not SAFE_NAME.fullmatch(value):
            raise ValueError(
                "must be a plain folder name: letters, digits, '.', '_' and '-', "
                "starting with a letter or digit, at most 100 characters"
            )
        return value

    @model_validator(mode="after")
    def _check(self) -> SearchConfig:
        if self.resume and self.name is None:
            raise ValueError("resume=true continues a run by its name; add name=RUN")
        if self.budget.more is not None and self.resume is not True:
            raise ValueError(
                "budget.trials=+N adds trials to a run that is resumed; give budget.trials=N, or "
                "add name=RUN resume=true"
            )
        if self.budget.stop == "auto" and len(self.search.objectives) > 1:
            raise ValueError(
                "budget.stop=auto weighs H-mean alone; leave it out, or give "
                "search.objectives=hmean"
            )
        if self.search.scheduler == "asha" and self.search.compare == "cost":
            raise ValueError(
                "search.compare=cost needs search.scheduler=promote: Ray's ASHA compares by epochs"
            )
        if self.resume and self.dry_run:
            raise ValueError(
                "dry_run=true shows a space that is not started; leave resume out, "
                "and give space=RUN_FOLDER/space.yaml for the space of a run"
            )
        return self


def run_name(config: SearchConfig, now: datetime) -> str:
    """The run's folder name: `name`, or the space's name and the time."""
    if config.name is not None:
        return config.name
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(config.space).stem).strip("-.") or "space"
    return f"{stem[:80]}-{now:%Y%m%d-%H%M%S}"
