"""The search space: which settings are searched, over what, and which are fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.trial import BaseTrial

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.core.plain import dump_yaml
from orchestrator.config.budget import BudgetConfig
from orchestrator.config.keys import unknown_key
from orchestrator.space.check import check
from orchestrator.space.files import find_space
from orchestrator.space.layers import (
    DEMO_PAGES,
    Entry,
    Layer,
    faults_of_form,
    read_space,
    resolve,
)
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.published import Published
from orchestrator.space.values import read_settings


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

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """A point drawn define-by-run: only the settings that apply are asked for."""
        point: dict[str, Any] = {}
        for key, parameter in self.parameters.items():
            if parameter.applies(point):
                point[key] = parameter.suggest(trial)
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
        return replace(self, fixed=read_settings(self.fixed | dict(values)))

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
    files = read_space(find_space(ref))
    # For every machine, so that a fault found elsewhere never surprises.
    spaces = {
        (on_gpu, demo): check(resolve(files, gpu=on_gpu, demo=demo))
        for on_gpu in (True, False)
        for demo in (False, True)
    }
    given = dict(overrides or {})
    demo = given.get("data.root", spaces[gpu, False].fixed.get("data.root")) is None
    for key in DEMO_PAGES:  # "all pages" means nothing for pages that are yet to be made
        if demo and given.get(key) is None:
            given.pop(key, None)
    below = spaces[gpu, demo]
    typed = Layer(
        fixed={key: Entry(value) for key, value in given.items()},
        budget={key: Entry(value) for key, value in _wishes(budget, below.budget).items()},
    )
    checked = check(resolve(files, gpu=gpu, demo=demo).under(typed), narrow)
    told = [fault for each in (*spaces.values(), checked) for fault in each.faults]
    if faults := [*faults_of_form(files), *told]:
        raise InputError("\n".join(dict.fromkeys(faults)))
    now_fixed = [
        f"{key}={checked.fixed[key]} is fixed for every trial; the space would search "
        f"{below.parameters[key].describe()}"
        for key in given
        if key in below.parameters
    ]
    return SearchSpace(
        name=files[0].content.get("name", files[0].path.stem),
        description=files[0].content.get("description", ""),
        fixed=checked.fixed,
        parameters=checked.parameters,
        warm_start=checked.warm_start,
        published=checked.published,
        budget=checked.budget,
        demo=demo,
        notes=(*now_fixed, *checked.notes),
    )


def _wishes(chosen: BudgetConfig | None, own: Budget) -> dict[str, Any]:
    """What the user wishes of a space's budget; a shorter training shortens its grace."""
    fields = set(Budget.model_fields)
    wishes = chosen.model_dump(exclude_none=True, include=fields) if chosen else {}
    if "epochs" in wishes:
        wishes.setdefault("grace_epochs", min(own.grace_epochs, wishes["epochs"]))
    return wishes
