"""The folder of a run: made once, continued as it was, used by one search at a time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

from detector.config.cli import build, log, read_yaml
from detector.config.sections import flatten, nest
from detector.core import files
from detector.core.errors import InputError
from detector.core.files import clear_up, expand_home, write_text
from detector.core.folders import flush_folder
from detector.core.plain import dump_yaml
from orchestrator.config.settings import SearchConfig
from orchestrator.space.parameters import Budget
from orchestrator.space.search_space import SearchSpace, load_space
from orchestrator.store.storage import without_password

CONFIG, SPACE = "config.yaml", "space.yaml"
# These say where or how long to search, not what; a resumed run may change them.
MAY_CHANGE = (
    *("budget.trials", "budget.more", "budget.concurrent", "budget.minutes"),
    *("budget.total_epochs", "budget.gpu_hours", "budget.patience", "budget.hang_minutes"),
    "budget.disk_gb",
    *("budget.stop", "budget.worth"),
    *("confirm.", "resources.", "track"),
)
ABOUT_THE_COMMAND = ("name", "runs_dir", "resume")


def create(
    folder: Path, config: SearchConfig, overrides: Mapping[str, Any], space: SearchSpace
) -> None:
    """Make a run's folder, complete or not at all; InputError when the name is taken."""
    require_new(folder)
    fresh = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.new")
    try:
        fresh.mkdir(parents=True)
        (fresh / "trials").mkdir()
        named = _bare(config).model_copy(update={"name": folder.name})
        settings = flatten(named.model_dump(mode="json")) | dict(overrides)
        write_text(fresh / CONFIG, dump_yaml(nest(settings)))
        write_text(fresh / SPACE, space.to_yaml())
        flush_folder(fresh)
        fresh.rename(folder)
    except FileExistsError:
        require_new(folder)
        raise
    finally:
        rmtree(fresh, ignore_errors=True)


def require_new(folder: Path) -> None:
    """InputError when the folder exists; two runs in one folder would be mixed."""
    if folder.exists():
        raise InputError(
            f"name: {folder} exists already; choose another name, "
            f"or continue that run with name={folder.name} resume=true"
        )


def reopen(
    folder: Path, config: SearchConfig, overrides: Mapping[str, Any], *, gpu: bool
) -> tuple[SearchConfig, SearchSpace]:
    """The settings and space an interrupted run was started with.

    The stored ones hold. InputError when the run does not exist, or a key given now differs
    from the stored one and is not among MAY_CHANGE; those take the new value.
    """
    if not (folder / CONFIG).is_file() or not (folder / SPACE).is_file():
        raise InputError(
            f"name: there is no run to resume at {folder} ({CONFIG} or {SPACE} is missing); "
            "check name and runs_dir, or leave resume=true out to start a new run"
        )
    stored = flatten(read_yaml(folder / CONFIG))
    given = flatten(_bare(config).model_dump(mode="json", exclude_unset=True)) | dict(overrides)
    given = {k: v for k, v in given.items() if k not in ABOUT_THE_COMMAND}
    changed = [
        f"{key}: {stored.get(key)!r} in the interrupted run, {value!r} now"
        for key, value in given.items()
        if not key.startswith(MAY_CHANGE) and not _same(stored.get(key), value)
    ]
    if changed:
        raise InputError(
            f"{folder}: a resumed run keeps its settings; leave these keys out or start a new "
            "run under another name\n" + "\n".join(changed)
        )
    new = {k: v for k, v in given.items() if k.startswith(MAY_CHANGE)}
    own = flatten(stored_search(folder).model_dump(mode="json"))
    if config.storage is not None:  # the same as the stored one, but it may have the password
        new["storage"] = config.storage
    kept = build(SearchConfig, own | new | {"name": folder.name, "resume": True})
    return kept, stored_space(folder, kept, gpu=gpu)


def stored_space(folder: Path, config: SearchConfig, *, gpu: bool) -> SearchSpace:
    """The space of a run, with as many trials as its settings, which may have grown, ask for."""
    space = load_space(str(folder / SPACE), gpu=gpu)
    trials = (config.budget.trials or space.budget.trials) + (config.budget.more or 0)
    budget = Budget.model_validate(space.budget.model_dump() | {"trials": trials})
    return replace(space, budget=budget)


def _same(stored: Any, given: Any) -> bool:
    """Whether two values mean the same: `~/x/` and `/home/me/x`, 0.001 and `1e-3`."""
    was, now = str(stored), str(given)
    if isinstance(stored, float) and isinstance(given, str):
        with suppress(ValueError):
            return stored == float(given)
    return was == now or expand_home(was).absolute() == expand_home(now).absolute()


def _bare(config: SearchConfig) -> SearchConfig:
    """The settings without a database's password, which is written down and shown nowhere."""
    storage = without_password(config.storage)
    return config if storage == config.storage else config.model_copy(update={"storage": storage})


def remember(folder: Path, config: SearchConfig, *, trials: int) -> None:
    """Keep what a run has grown to and its limits, so that the next resume goes on like this."""
    stored = read_yaml(folder / CONFIG)
    budget = config.budget.model_dump(mode="json") | {"trials": trials, "more": None}
    now = {"budget": budget, "confirm": config.confirm.model_dump()}
    if stored != stored | now:
        write_text(folder / CONFIG, dump_yaml(stored | now))


def stored_search(folder: Path) -> SearchConfig:
    """The search's own settings in a run's config.yaml."""
    stored = read_yaml(folder / CONFIG)
    own = {k: v for k, v in stored.items() if k in SearchConfig.model_fields}
    return build(SearchConfig, flatten(own))


def stored_overrides(folder: Path) -> dict[str, Any]:
    """The detector settings, by dotted key, that a run was started with."""
    stored = read_yaml(folder / CONFIG)
    return flatten({k: v for k, v in stored.items() if k not in SearchConfig.model_fields})


def study_name(folder: Path) -> str:
    """What the study of a run is called: as its folder was when the run was made."""
    return stored_search(folder).name or folder.resolve().name  # of a run from before it was kept


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run for this process, see `detector.core.files.locked`.

    What a killed search left half-written is deleted. InputError when another search holds it.
    """
    with files.locked(folder, f"name: another search is working on {folder}", log):
        clear_up(folder)
        yield
