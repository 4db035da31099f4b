"""One searched setting, and how much a search may spend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import Field, model_validator

from detector.settings import Section

Kind = Literal["choice", "uniform", "log_uniform", "int"]
KINDS: tuple[Kind, ...] = ("choice", "uniform", "log_uniform", "int")


class Budget(Section):
    """How much a search spends, all of it decided (BudgetConfig is what the user asks for)."""

    trials: int = Field(20, ge=1, description="trials to run")
    epochs: int = Field(30, ge=1, le=100_000, description="longest training of a trial")
    grace_epochs: int = Field(5, ge=1, description="epochs before a trial may be stopped")
    reduction_factor: int = Field(3, ge=2, description="the scheduler keeps one trial in this many")

    @model_validator(mode="after")
    def _check(self) -> Budget:
        if self.grace_epochs > self.epochs:
            raise ValueError(
                "grace_epochs must not exceed epochs, "
                f"got {self.grace_epochs} > {self.epochs}; lower it"
            )
        return self


@dataclass(frozen=True)
class Parameter:
    """One searched setting. `values` are the choices, or (low, high), both included.

    A constant is a choice of one value.
    """

    key: str
    kind: Kind
    values: tuple[Any, ...]
    step: int = 1  # between the values of kind int
    when: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # all must hold

    def distribution(self) -> BaseDistribution:
        """What Optuna draws this setting from; upper ends are included."""
        if self.kind == "choice":
            return CategoricalDistribution(self.values)
        low, high = self.values
        if self.kind == "int":
            return IntDistribution(low, high, step=self.step)
        return FloatDistribution(low, high, log=self.kind == "log_uniform")

    def contains(self, value: Any) -> bool:
        """Whether the value could be drawn; True is not 1 here."""
        if self.kind == "choice":
            return any(type(value) is type(v) and value == v for v in self.values)
        low, high = self.values
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return low <= value <= high and (self.kind != "int" or (value - low) % self.step == 0)

    def applies(self, point: Mapping[str, Any]) -> bool:
        """Whether every condition holds at a point."""
        return all(key in point and point[key] in allowed for key, allowed in self.when.items())

    def describe(self) -> str:
        """The values as a short text, such as `uniform [0.3, 0.6]` or `one of 1, 2`."""
        text = ", ".join(str(v) for v in self.values)
        if self.kind == "choice":
            return f"one of {text}" if len(self.values) > 1 else f"always {text}"
        return f"{self.kind} [{text}]"

    def to_plain(self) -> dict[str, Any]:
        """The parameter as the space file writes it."""
        plain: dict[str, Any] = {self.kind: list(self.values)}
        if self.step != 1:
            plain["step"] = self.step
        if self.when:
            plain["when"] = {key: list(allowed) for key, allowed in self.when.items()}
        return plain
