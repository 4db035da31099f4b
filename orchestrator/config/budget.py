"""What a search may spend: trials, epochs, time, disk."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Literal

from pydantic import Field, model_validator

from detector.config.sections import Section
from orchestrator.config.limits import Limits

OptionalCount = Annotated[int | None, Field(ge=1)]
OptionalPositive = Annotated[float | None, Field(gt=0)]
WORTH = 0.001  # H-mean an hour


class BudgetConfig(Section):
    trials: OptionalCount = Field(
        None, description="trials to run; null = the space's; +N adds some to a run that is resumed"
    )
    more: OptionalCount = Field(
        None, description="trials added to a run that is resumed, as budget.trials=+N says it"
    )
    epochs: OptionalCount = Field(
        None, description="longest training of a trial; null = the space's"
    )
    grace_epochs: OptionalCount = Field(
        None, description="epochs before the scheduler may stop a trial; null = the space's"
    )
    reduction_factor: int | None = Field(
        None,
        ge=2,
        description="epochs from rung to rung grow by this; the more, the fewer trials go on; "
        "null = the space's",
    )
    concurrent: OptionalCount = Field(
        None, description="trials at the same time; null = as many as the machines hold"
    )
    minutes: OptionalPositive = Field(
        None, description="wall time after which the search ends; null = no limit"
    )
    total_epochs: OptionalCount = Field(
        None, description="epochs of all trials together; null = no limit"
    )
    gpu_hours: OptionalPositive = Field(
        None, description="hours of training times GPUs per trial, all trials; null = no limit"
    )
    patience: OptionalCount = Field(
        None, description="trials without a new best that end the search; null = no limit"
    )
    stop: Literal["full", "auto"] = Field(
        "full",
        description="auto: the search ends when an hour of it is expected to bring less than "
        "budget.worth to the best H-mean; full: it runs its whole budget",
    )
    worth: OptionalPositive = Field(
        None,
        description="H-mean that an hour must be expected to bring with budget.stop=auto; null = "
        f"{WORTH}",
    )
    disk_gb: OptionalPositive = Field(
        None,
        description="10^9 bytes that weights and states of all trials may take: before it is more, "
        "the weights of the worst trials that are over are deleted and the worst paused trials "
        "stopped; null = no limit",
    )
    hang_minutes: OptionalPositive = Field(
        None,
        description="minutes without a finished epoch after which a trial fails and its worker is "
        "ended; null = no limit",
    )

    @property
    def worth_an_hour(self) -> float:
        """What an hour must be expected to bring, where the search may end by itself."""
        return self.worth or WORTH

    @model_validator(mode="after")
    def _check(self) -> BudgetConfig:
        if self.worth is not None and self.stop != "auto":
            raise ValueError(
                f"worth={self.worth:g} says when stop=auto ends a search; add budget.stop=auto, or "
                "give budget.worth=null"
            )
        return self

    def limits(self) -> Limits:
        """What ends a search before all its trials are run."""
        return Limits(**self.model_dump(include={field.name for field in fields(Limits)}))
