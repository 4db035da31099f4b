"""Single settings of the detector: what it refuses, and how it reads what it accepts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from detector.config.sections import describe_faults, flatten, nest
from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.core.files import expand_home
from detector.model.graph.starts import is_named
from orchestrator.space.parameters import Parameter
from orchestrator.store.bucket import is_url

Model = TypeVar("Model", bound=BaseModel)
# Plain values by dotted name, as files hold them.
DEFAULTS = flatten(TrainConfig().model_dump(mode="json"))
_DEFAULTS = flatten(TrainConfig().model_dump())  # as the detector has them


def validated(model: type[Model], values: Any) -> tuple[Model | None, list[tuple[str, str]]]:
    """What the values are to a settings class, or None and (key, message) of each fault."""
    try:
        return model.model_validate(values), []
    except ValidationError as error:
        keys = [".".join(str(part) for part in fault["loc"][:2]) for fault in error.errors()]
        return None, list(zip(keys, describe_faults(error, model), strict=True))


def faults_of(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(key, message) of what the detector refuses in these settings beside its defaults."""
    return validated(TrainConfig, nest(_DEFAULTS | dict(values)))[1]


def read_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the detector reads them, in plain values (absolute paths as text).

    InputError for those that it refuses.
    """
    read = flatten(with_values(TrainConfig(), dict(values)).model_dump(mode="json"))
    return {key: absolute(key, read[key]) for key in values}


PATHS = ("data.root", "data.exclude", "data.cache")


def absolute(key: str, value: Any) -> Any:
    """Paths made absolute, because a trial runs in a folder of its own.

    InputError for the address of a bucket, which would become a folder called s3:.
    """
    chosen = key in ("data.cache", "model.weights") and value in ("auto", "none")
    chosen = chosen or (key == "train.init" and is_named(value))
    is_path = key in (*PATHS, "model.weights", "train.init") and not chosen
    if not is_path or not isinstance(value, str):  # what is no text is refused elsewhere
        return value
    if is_url(value):
        remedy = "copy it to the same path on each machine"
        if key == "data.root":
            remedy = f"give {key}=s3://BUCKET/KEY on the command line: each machine makes a copy"
        raise InputError(f"{key}: {value} is not a path; {remedy}")
    return str(expand_home(value).absolute())


def read_one(fixed: Mapping[str, Any], key: str, value: Any) -> Any:
    """A value as its field reads it; rules between settings play no part."""
    section, _, name = key.partition(".")
    model = TrainConfig.model_fields[section].annotation
    assert isinstance(model, type)
    beside = {k.partition(".")[2]: v for k, v in fixed.items() if k.startswith(f"{section}.")}
    config, _ = validated(model, {**beside, name: value})
    if config is None:  # a rule with another parameter: the text of YAML is right already
        return value
    return config.model_dump(mode="json")[name]


def read_value(fixed: Mapping[str, Any], parameter: Parameter, value: Any) -> Any:
    """A value of a parameter as the detector reads it; 10.0 as 10 where Optuna hands out int."""
    if parameter.kind != "choice" and isinstance(value, bool):
        return value  # no number
    read = absolute(parameter.key, read_one(fixed, parameter.key, value))
    whole = parameter.kind == "int" and isinstance(read, float) and read.is_integer()
    return int(read) if whole else read


@lru_cache(maxsize=256)
def backbone_fault(name: str | None) -> str | None:
    """Why the detector cannot use a backbone; None when it can (or none is given).

    The model is built without memory for its weights; a refusal is confirmed by building
    it for real, since not every model can be built that way.
    """
    if name is None:
        return None
    import torch

    from detector.model.backbone import Backbone

    try:
        with torch.device("meta"):
            Backbone(name)
    except Exception:
        try:
            Backbone(name)
        except InputError as error:
            return str(error)
    return None
