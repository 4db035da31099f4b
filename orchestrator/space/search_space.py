"""The search space: which settings are searched, over what, and which are fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from pydantic import ValidationError

from detector.config import TrainConfig, with_values
from detector.errors import InputError
from detector.plain import dump_yaml
from detector.settings import describe_faults
from orchestrator.config.keys import unknown_key
from orchestrator.config.settings import BudgetConfig
from orchestrator.space.check import Checked, check
from orchestrator.space.files import find_space
from orchestrator.space.inherit import read_space
from orchestrator.space.layers import COMMAND_LINE, Fault, Layer, Layers
from orchestrator.space.narrow import narrowed
from orchestrator.space.parameters import Budget, Kind, Parameter
from orchestrator.space.published import Published
from orchestrator.space.values import read_settings

__all__ = ["Budget", "Kind", "Parameter", "SearchSpace", "load_space"]

# Synthetic pages of a space that does not say how many.
DEMO_PAGES = {"data.train_pages": 24, "data.val_pages": 8}


@dataclass(frozen=True)
class SearchSpace:
    """A checked space; picklable. `parameters` are ordered, conditions before dependants.

    demo: no data.root was given, so the caller makes synthetic receipts:
    fixed["data.train_pages"] and fixed["data.val_pages"] of them, then `with_fixed`.
    notes: lines to tell the user, such as which searched keys the command line fixed.
    published: what was published for points of `warm_start`, in their order.
    """

    name: str
    description: str
    fixed: dict[str, Any]
    parameters: dict[str, Parameter]
    warm_start: tuple[dict[str, Any], ...]
    budget: Budget
    demo: bool = False
    notes: tuple[str, ...] = field(default=(), compare=False)
    published: tuple[Published, ...] = ()

    def distributions(self) -> dict[str, BaseDistribution]:
        """Every searched setting's distribution by dotted name, conditional ones included."""
        return {key: parameter.distribution() for key, parameter in self.parameters.items()}

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """A point drawn define-by-run: only the settings that apply are asked for."""
        point: dict[str, Any] = {}
        for key, parameter in self.parameters.items():
            if not parameter.applies(point):
                continue
            if parameter.kind == "choice":
                point[key] = trial.suggest_categorical(key, parameter.values)
            elif parameter.kind == "int":
                low, high = parameter.values
                point[key] = trial.suggest_int(key, low, high, step=parameter.step)
            else:
                low, high = parameter.values
                point[key] = trial.suggest_float(
                    key, low, high, log=parameter.kind == "log_uniform"
                )
        return point

    def active(self, point: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the searched settings that apply at a point (their `when` is true)."""
        known: dict[str, Any] = {}
        names = []
        for key, parameter in self.parameters.items():
            if parameter.applies(known):
                names.append(key)
                if key in point:
                    known[key] = point[key]
        return tuple(names)

    def train_config(self, point: Mapping[str, Any]) -> TrainConfig:
        """The whole training of a point: fixed, the point's active settings, budget's epochs.

        Values of settings that do not apply are left out. Raises InputError for a key that is
        not searched, an active key without a value and values that the detector refuses.
        """
        active = self.active(point)
        faults = [unknown_key(k, list(self.parameters)) for k in point if k not in self.parameters]
        faults += [
            f"{key}: the point gives no value; add one" for key in active if key not in point
        ]
        if faults:
            raise InputError("\n".join(faults))
        chosen = {key: point[key] for key in active}
        return with_values(
            TrainConfig(), self.fixed | chosen | {"train.epochs": self.budget.epochs}
        )

    def with_fixed(self, values: Mapping[str, Any]) -> SearchSpace:
        """A copy with more settings fixed (such as data.root, once the demo's data is made).

        Raises InputError for a key that is searched and for values that the detector refuses.
        """
        searched = [key for key in values if key in self.parameters]
        if searched:
            raise InputError(f"{', '.join(searched)}: searched in this space; fix it when loading")
        fixed = self.fixed | dict(values)
        with_values(TrainConfig(), fixed)
        return replace(self, fixed=read_settings(fixed))

    def to_yaml(self) -> str:
        """The resolved space as a file that `load_space` reads back."""
        content = {
            "name": self.name,
            "description": self.description,
            "fixed": self.fixed,
            "parameters": {key: p.to_plain() for key, p in self.parameters.items()},
            "warm_start": [entry for point in self.warm_start for entry in self._entries(point)],
            "budget": self.budget.model_dump(),
        }
        return dump_yaml(content)

    def _entries(self, point: dict[str, Any]) -> list[dict[str, Any]]:
        rows = [row.to_plain() for row in self.published if row.point == point]
        return rows or [point]


def load_space(
    ref: str,
    *,
    gpu: bool,
    overrides: Mapping[str, Any] | None = None,
    budget: BudgetConfig | None = None,
    narrow: Mapping[str, Any] | None = None,
) -> SearchSpace:
    """A space by name or path, resolved for this machine and checked against the detector.

    Layers, later ones win: the file over those it extends, its `cpu:` section without a GPU,
    its `demo:` section without a data.root, `overrides` (detector settings of the command
    line, fixed for every trial), `budget`. Of what is searched then, `narrow` keeps a part:
    choices or [low, high] by dotted name. All of the file is checked, its unused sections
    too. Relative paths start at the working directory. Raises InputError with every fault,
    each on a line.
    """
    file, layers = read_space(find_space(ref))
    given, demo = _given(layers, overrides or {}, gpu=gpu)
    typed = Layer(fixed=given, origin={("fixed", key): COMMAND_LINE for key in given})
    below = _resolve(layers, gpu=gpu, demo=demo)
    layer, vain = narrowed(below.under(typed), narrow or {})
    checked = check(layer)
    spent, overspent = _budget(below, budget)
    faults = [*layers.faults, *_faults_of_file(layers), *vain, *checked.faults, *overspent]
    if faults or spent is None:
        raise InputError("\n".join(dict.fromkeys(faults)))
    return SearchSpace(
        name=file.content.get("name", Path(file.path).stem),
        description=file.content.get("description", ""),
        fixed=checked.fixed,
        parameters=checked.parameters,
        warm_start=checked.warm_start,
        published=checked.published,
        budget=spent,
        demo=demo,
        notes=_notes(below, checked, given),
    )


def _given(
    layers: Layers, overrides: Mapping[str, Any], *, gpu: bool
) -> tuple[dict[str, Any], bool]:
    """The settings given on the command line that count, and whether this is a demo."""
    root = _resolve(layers, gpu=gpu, demo=False).settled.get("data.root")
    demo = overrides.get("data.root", root) is None
    # "All pages" means nothing for pages that are yet to be made.
    unmade = {key for key in DEMO_PAGES if demo and overrides.get(key) is None}
    return {key: value for key, value in overrides.items() if key not in unmade}, demo


def _resolve(layers: Layers, *, gpu: bool, demo: bool) -> Layer:
    layer = layers.base if gpu else layers.base.under(layers.cpu)
    return Layer(fixed=dict(DEMO_PAGES)).under(layer).under(layers.demo) if demo else layer


def _faults_of_file(layers: Layers) -> list[Fault]:
    """Faults of the file for every machine, so that one found elsewhere never surprises."""
    faults: list[Fault] = []
    for gpu in (True, False):
        for demo in (False, True):
            layer = _resolve(layers, gpu=gpu, demo=demo)
            faults += [*check(layer).faults, *_budget(layer, None)[1]]
    return faults


def _budget(layer: Layer, chosen: BudgetConfig | None) -> tuple[Budget | None, list[Fault]]:
    """The space's budget with the user's wishes; a shorter training shortens its grace."""
    own = set(Budget.model_fields)
    wishes = chosen.model_dump(exclude_none=True, include=own) if chosen else {}
    values = layer.budget | wishes
    if "epochs" in wishes and "grace_epochs" not in wishes:
        grace = values.get("grace_epochs", Budget().grace_epochs)
        values["grace_epochs"] = min(grace, wishes["epochs"])
    try:
        return Budget.model_validate(values), []
    except ValidationError as error:
        texts = describe_faults(error, Budget)
        keys = [str(fault["loc"][0]) if fault["loc"] else "" for fault in error.errors()]
        return None, [
            f"{_budget_place(layer, key, wishes)}: budget{'.' if key else ': '}{text}"
            for key, text in zip(keys, texts, strict=True)
        ]


def _budget_place(layer: Layer, key: str, wishes: Mapping[str, Any]) -> str:
    key = key or "grace_epochs"
    if key in wishes:
        return COMMAND_LINE
    return layer.origin.get(("budget", key), layer.origin.get(("budget", "epochs"), "budget"))


def _notes(below: Layer, checked: Checked, given: Mapping[str, Any]) -> tuple[str, ...]:
    now_fixed = [
        f"{key}={checked.fixed[key]} is fixed for every trial; the space would search "
        f"{below.parameters[key].describe()}"
        for key in given
        if key in below.parameters
    ]
    return (*now_fixed, *checked.notes)
