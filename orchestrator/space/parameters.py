"""One searched setting, as a space file writes it, and how much a search may spend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from optuna.trial import BaseTrial
from pydantic import Field, model_validator

from detector.config.sections import Section
from detector.core.errors import InputError

Kind = Literal["choice", "uniform", "log_uniform", "int"]
FORMS: tuple[Kind | Literal["const"], ...] = ("choice", "uniform", "log_uniform", "int", "const")


class Budget(Section):
    """How much a search spends, all of it decided (BudgetConfig is what the user asks for)."""

    trials: int = Field(20, ge=1, description="trials to run")
    epochs: int = Field(30, ge=1, le=100_000, description="longest training of a trial")
    grace_epochs: int = Field(5, ge=1, description="epochs before a trial may be stopped")
    reduction_factor: int = Field(
        3, ge=2, description="epochs from rung to rung grow by this; the more, the fewer go on"
    )

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

    def suggest(self, trial: BaseTrial) -> Any:
        """A value that Optuna draws; upper ends are included."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.key, self.values)
        low, high = self.values
        if self.kind == "int":
            return trial.suggest_int(self.key, low, high, step=self.step)
        return trial.suggest_float(self.key, low, high, log=self.kind == "log_uniform")

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
        return f"{self.kind} [{text}]" + (f" in steps of {self.step}" if self.step != 1 else "")

    def to_plain(self) -> dict[str, Any]:
        """The parameter as the space file writes it."""
        plain: dict[str, Any] = {self.kind: list(self.values)}
        if self.step != 1:
            plain["step"] = self.step
        if self.when:
            plain["when"] = {key: list(allowed) for key, allowed in self.when.items()}
        return plain


def read_parameter(key: str, spec: Any) -> Parameter:
    """What a spec such as `{uniform: [0.3, 0.6]}` stands for; InputError with every fault."""
    forms = [form for form in FORMS if isinstance(spec, dict) and form in spec]
    if len(forms) != 1:
        raise InputError(f"needs exactly one of {', '.join(FORMS)}, got {spec!r}")
    form = forms[0]
    options = ("when", "step") if form == "int" else ("when",)
    faults = [
        f"unknown option {name!r}; beside {form} there may be {' and '.join(options)}"
        for name in spec
        if name not in (form, *options)
    ]
    kind: Kind = "choice" if form == "const" else form
    values, step, when = spec[form], spec.get("step", 1), spec.get("when", None)
    if form == "const" and isinstance(values, list | dict):
        faults.append(f"const needs one value, got {values!r}; use choice for several")
    else:
        values = [values] if form == "const" else values
        faults += _value_faults(kind, values, step)
    if when is not None and not (isinstance(when, dict) and when):
        faults.append(f"when needs `other.key: value` or `other.key: [values]`, got {when!r}")
        when = None
    allowed = {k: tuple(v) if isinstance(v, list) else (v,) for k, v in (when or {}).items()}
    faults += [f"when: {other} lists no values" for other, some in allowed.items() if not some]
    if faults:
        raise InputError("\n".join(faults))
    return Parameter(key, kind, tuple(values), step if kind == "int" else 1, allowed)


def _value_faults(kind: Kind, values: Any, step: Any) -> Iterator[str]:
    if not isinstance(values, list) or not values:
        yield f"{kind} needs a list of values in brackets, got {values!r}"
    elif kind == "choice":
        bad = [v for v in values if v is not None and not isinstance(v, str | bool | int | float)]
        yield from (f"a choice is text, a number, true, false or null, got {v!r}" for v in bad)
    elif fault := _range_fault(values, whole=kind == "int"):
        yield f"{kind} {fault}; to hold it at one value, name it under fixed:"
    elif kind == "log_uniform" and values[0] <= 0:
        yield (
            f"log_uniform needs low > 0, got {values[0]!r}; use uniform or a small positive number"
        )
    elif kind == "int" and (isinstance(step, bool) or not isinstance(step, int) or step < 1):
        yield f"step must be a whole number of at least 1, got {step!r}"
    elif kind == "int" and (rest := (values[1] - values[0]) % step):
        yield (
            f"step {step} does not reach {values[1]} from {values[0]}; "
            f"end the range at {values[1] - rest}"
        )


def _range_fault(values: list[Any], *, whole: bool) -> str | None:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if not len(values) == len(numbers) == 2 or (whole and any(v % 1 for v in numbers)):
        return f"needs two {'whole ' * whole}numbers [low, high], got {values!r}"
    return None if values[0] < values[1] else f"needs low < high, got {values!r}"


def narrowed(parameter: Parameter, wish: list[Any]) -> Parameter:
    """The parameter with the wished ones of its choices, in its order, or its range cut to a part.

    Raises InputError, each fault on a line, for values that are not the parameter's.
    """
    outside = [value for value in wish if not parameter.contains(value)]
    if parameter.kind == "choice":
        remedy = f"choose from {', '.join(map(str, parameter.values))}"
        faults = [f"{value} is not among this space's choices" for value in outside]
        faults += [] if wish else ["an empty list leaves nothing to search"]
        wished = replace(parameter, values=tuple(wish))
        wish = [value for value in parameter.values if wished.contains(value)]
    else:
        remedy = f"give [low, high] inside {parameter.describe()}"
        if len(wish) == 1:
            remedy += f"; to hold it at one value, give {parameter.key}={wish[0]}"
        fault = _range_fault(wish, whole=parameter.kind == "int")
        faults = [fault] if fault else [f"{value} is not in this space" for value in outside]
    if faults:
        raise InputError("\n".join(f"{fault}; {remedy}" for fault in faults))
    return replace(parameter, values=tuple(wish))
