"""How to get the same again: commands, seed, versions and fingerprints of the data."""

from __future__ import annotations

from detector.config.sections import flatten
from detector.core.commands import command
from detector.core.errors import InputError
from detector.training.storage.environment import package_version
from detector.training.storage.provenance import Provenance, read_record
from orchestrator.report_page.blocks import Block, Command, Facts, Paragraph, Section
from orchestrator.report_page.facts import RunFacts
from orchestrator.run.endings import again

TITLE = "How to reproduce"
PACKAGES = ("ray", "optuna")
# Where a run is kept and what it was told, not what it does; space.yaml has the rest resolved.
_ELSEWHERE = ("space", "name", "runs_dir", "resume", "storage", "warm_start", "dry_run", "track")


def section(facts: RunFacts) -> Section:
    """Commands first, then what they depend on."""
    blocks: list[Block] = [
        Command("The same search, from its resolved space:", search_command(facts)),
        Paragraph(
            "With one trial at a time (budget.concurrent=1) it proposes the same trials. With more "
            "of them, the order in which they end decides what is proposed next."
        ),
    ]
    top, run = facts.best, facts.folder
    if top is not None:
        same = {"from": run, "trial": top.trial, "output": f"{run}-{top.trial}"}
        line = command("detector.train", same)
        blocks.append(Command(f"Trial {top.trial} again, compared bit for bit:", line))
    blocks += [
        Command("Go on with this run:", again(facts.config, facts.folder)),
        Command("This page again:", command("orchestrator.report", {"run": run})),
        Facts([("seed of the search", str(facts.config.seed)), *versions()]),
        *_record(facts),
    ]
    return Section("reproduce", TITLE, blocks)


def search_command(facts: RunFacts) -> str:
    """The command that searches the run's space again under another name."""
    stored = facts.config.model_dump(mode="json", exclude_defaults=True)
    given = {k: v for k, v in flatten(stored).items() if k.partition(".")[0] not in _ELSEWHERE}
    given = {k: v for k, v in given.items() if not k.startswith("search.narrow") and v is not None}
    given.pop("budget.more", None)
    own = {"space": facts.folder / "space.yaml", "name": f"{facts.folder.name}-again"}
    return command("orchestrator.search", own | {"seed": facts.config.seed} | given)


def versions() -> list[tuple[str, str]]:
    """Of the packages that a search needs beside those of a training."""
    return [(name, package_version(name)) for name in PACKAGES]


def _record(facts: RunFacts) -> list[Block]:
    """What the best trial was made from, as its training wrote it down."""
    if facts.best is None:
        return []
    try:
        record = read_record(facts.folder_of(facts.best))
    except InputError:
        text = f"Trial {facts.best.trial} has no record.json that says what it was made from."
        return [Paragraph(text)]
    text = f"What trial {facts.best.trial} was made from (record.json in its folder):"
    return [Paragraph(text), Facts(_pairs(record))]


def _licence(record: Provenance) -> list[tuple[str, str]]:
    """Whose terms go with the detector, where it began as another's."""
    licence = record.weights.licence
    return [("licence of the first weights", licence)] if licence else []


def _pairs(record: Provenance) -> list[tuple[str, str]]:
    environment = record.environment
    splits = [
        (
            f"{role} pages",
            f"{pages.pages} of split {pages.split!r} with {pages.words} words; images "
            f"{pages.images or 'not all read yet'}, annotations {pages.annotations}",
        )
        for role, pages in (("training", record.train), ("validation", record.val))
    ]
    return [
        ("seed of the training", str(record.config.train.seed)),
        *splits,
        ("first weights", f"{record.weights.source} (digest {record.weights.digest})"),
        *_licence(record),
        ("code", str(record.code) + (", with changes" if record.code.changed else "")),
        *environment.versions.items(),
        ("platform", environment.platform),
        ("device", environment.device),
        ("CPU capability and threads", f"{environment.cpu_capability}, {environment.threads}"),
    ]
