"""Groups of settings, their dotted keys (`loss.negative_ratio`), and their faults as messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import ErrorDetails

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.core.files import expand_home


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys and non-finite numbers.

    `~` at the beginning of a path is the user's home folder: shells leave it as it is in `key=~/x`.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @field_validator("*")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [cls._expand(each) for each in value]
        return expand_home(value) if isinstance(value, Path) else value


def nest(flat: dict[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`; raises InputError when a key is both value and section."""
    out: dict[str, Any] = {}
    for key, value in flat.items():
        node = out
        *parents, leaf = key.split(".")
        for part in parents:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise InputError(
                    f"{key}: '{part}' already has a value, so it cannot have keys below it"
                )
        if isinstance(node.get(leaf), dict) and not isinstance(value, dict):
            raise InputError(f"{key}: is a section of settings; set one of the keys below it")
        node[leaf] = value
    return out


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The inverse of `nest`."""
    out: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            out.update(flatten(value, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = value
    return out


def field_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of every setting of a config class, in order of declaration."""
    names: list[str] = []
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            names += field_names(info.annotation, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def describe_faults(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line per fault of a pydantic error: key, rule, value received, remedy."""
    from difflib import get_close_matches

    lines = []
    for key, fault in _by_key(error, field_names(model)):
        if fault["type"] == "extra_forbidden":
            names = field_names(model)
            leaf = key.rpartition(".")[2]
            same = [n for n in names if n.rpartition(".")[2] == leaf]
            close = get_close_matches(key, names, n=3, cutoff=0.5)
            near = list(dict.fromkeys([*same, *close]))[:3]
            section = [n for n in names if n.rpartition(".")[0] == key.rpartition(".")[0]]
            hint = (
                f"did you mean {' or '.join(near)}?"
                if near
                else f"valid keys: {', '.join(section or names)}"
            )
            lines.append(f"{key}: unknown key; {hint}")
            continue
        rule = fault["msg"].removeprefix("Value error, ")
        rule = rule[:1].lower() + rule[1:]
        got = (
            "" if isinstance(fault["input"], dict | BaseModel) else f", got {shown(fault['input'])}"
        )
        lines.append(f"{key}: {rule}{got}" if key else f"{rule}{got}")
    return lines


def _by_key(error: ValidationError, names: Sequence[str]) -> Iterator[tuple[str, ErrorDetails]]:
    """Each fault under its key; those of a setting's several types are one, with all their rules.

    Pydantic names each of the types behind the key.
    """
    found: dict[str, ErrorDetails] = {}
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        setting = ".".join(str(part) for part in fault["loc"][:-1])
        if setting in names and isinstance(fault["loc"][-1], str):
            key = setting
        if key in found:
            other = fault["msg"].removeprefix("Input should be ")
            fault["msg"] = f"{found[key]['msg']} or {other}"
        found[key] = fault
    yield from found.items()
