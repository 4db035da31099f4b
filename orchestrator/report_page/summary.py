"""Which trial to ship, why, and what cannot be told from it."""

from __future__ import annotations

from detector.core.commands import command
from orchestrator.report_page.blocks import (
    Block,
    Command,
    Facts,
    Items,
    Paragraph,
    Section,
    counted,
    listed,
    plain,
    score,
)
from orchestrator.report_page.facts import RunFacts
from orchestrator.results.comparison import ties
from orchestrator.results.conclusion import why_nothing
from orchestrator.results.new_pages import new_pages, why_not
from orchestrator.results.ranking import confirmed_hmean, confirmed_sd, how_far, scored_pages
from orchestrator.trials.records import TrialRecord, TrialState

STATES = tuple(TrialState)


def section(facts: RunFacts, failing: str = "") -> Section:
    """The first thing to read; `failing` says where the best trial still does."""
    top = facts.best
    title = "Which trial to ship" if facts.over else "Which trial to ship, so far"
    if top is None or not top.hmean:
        return Section("summary", title, [*_without_a_model(facts), Paragraph(progress(facts))])
    blocks: list[Block] = [
        Paragraph(f"{headline(facts, top)} {on_new_pages(facts)}", strong=True),
        *_meant(facts),
        Items([*reasons(facts, top), *trade_offs(facts), *([failing] if failing else [])]),
        Facts(_settings(top)),
        *_use(facts, top),
        Paragraph(progress(facts)),
    ]
    return Section("summary", title, blocks)


def _without_a_model(facts: RunFacts) -> list[Block]:
    if not facts.records:
        return [Paragraph("No trial has started yet.", strong=True)]
    failed = facts.of(TrialState.FAILED)
    if len(failed) == len(facts.records):
        text = f"Nothing to ship: all {counted(len(failed), 'trial')} failed."
        return [Paragraph(text, strong=True), Paragraph("Their reasons are under Faults met.")]
    if facts.best is None:
        return [Paragraph("No trial has a score yet.", strong=True)]
    return [
        Paragraph("Nothing to ship: every H-mean is 0, so nothing was learnt.", strong=True),
        Paragraph("It may be that"),
        Items(why_nothing(facts.space.budget.epochs)),
    ]


def headline(facts: RunFacts, top: TrialRecord) -> str:
    """The choice with its score."""
    mean, sd = confirmed_hmean(top), confirmed_sd(top)
    if mean is not None:
        spread = "" if sd is None else f" ± {sd:.4f} (standard deviation)"
        seeds = counted(len(top.confirmed), "new seed")
        figure = f"H-mean {mean:.4f}{spread}, the mean of {seeds}; the first one gave "
        figure += score(top.hmean)
    else:
        figure = f"H-mean {score(top.hmean)}"
    if pages := scored_pages(top):
        figure += f" on {counted(pages, 'validation page')}"
    far = how_far(top, facts.space.budget.epochs)
    state = "" if top.state is TrialState.FINISHED else f" ({far})"
    return f"Trial {top.trial}{state}: {figure}."


def on_new_pages(facts: RunFacts) -> str:
    """What to expect on new pages, or why that is not known."""
    found = new_pages(facts.records)
    if found is None:
        return f"What to expect on new pages is not known, since {why_not(facts.records)}."
    span = f"{score(found.low)} to {score(found.high)}"
    return f"Expected on new pages: {score(found.hmean)} ({span})."


def _meant(facts: RunFacts) -> list[Block]:
    """What is meant by that."""
    found = new_pages(facts.records)
    if found is None:
        return []
    chosen = f" less what being the best of {found.trials} trials on them flatters it by"
    text = (
        f"Expected is its H-mean on its {found.pages} validation pages"
        f"{chosen if found.trials > 1 else ''}. In brackets is where 95 of 100 sets of as many new "
        f"pages of this kind have theirs; for the mean of all such pages it is "
        f"{score(found.mean_low)} to {score(found.mean_high)}."
    )
    return [Paragraph(text)]


def reasons(facts: RunFacts, top: TrialRecord) -> list[str]:
    """Why this one, and which are as good as far as these pages can tell."""
    finished = facts.of(TrialState.FINISHED)
    if top.state is not TrialState.FINISHED:
        return [_unfinished(finished)]
    if any(record.confirmed for record in finished):
        return [_expected(facts, top), _trained_again(top, finished), *_luck(top)]
    if len(finished) == 1:
        return ["It is the only trial that was trained to the end, so there is none to compare."]
    first = f"It has the highest H-mean of the {len(finished)} trials trained to the end."
    return [first, *tied(finished)]


def _unfinished(finished: list[TrialRecord]) -> str:
    text = "Its weights are the best there are, and the training of more epochs may improve them."
    if not finished:
        return f"{text} No trial has been trained to the end yet."
    first = finished[0]
    return f"{text} Of trials trained to the end, {first.trial} is first: {score(first.hmean)}."


def _expected(facts: RunFacts, top: TrialRecord) -> str:
    return (
        "It has the highest H-mean to expect of another seed, "
        f"{score(facts.row_of(top)['expected_hmean'])}, by all scores and the luck in them."
    )


def _trained_again(top: TrialRecord, finished: list[TrialRecord]) -> str:
    others = [f"{r.trial} ({_mean(r)})" for r in finished if r.confirmed and r is not top]
    if not top.confirmed:
        return f"It was not trained again with new seeds, as {listed(others)} was."
    if not others:
        return "It is the only trial that was trained again with new seeds."
    return (
        f"Trained again with new seeds were also {listed(others)}. Means closer than their "
        "standard deviations may change places with other seeds."
    )


def _mean(record: TrialRecord) -> str:
    mean, sd = confirmed_hmean(record), confirmed_sd(record)
    return score(mean) if sd is None else f"{score(mean)} ± {sd:.4f}"


def _luck(top: TrialRecord) -> list[str]:
    mean = confirmed_hmean(top)
    if mean is None or top.hmean is None or top.hmean <= mean:
        return []
    luck = top.hmean - mean
    return [
        f"Its first training was {luck:.4f} above that mean: the winner of many is lucky too. "
        "The weights in best/ are those of the first training."
    ]


def tied(finished: list[TrialRecord]) -> list[str]:
    """What a paired test says of the others, `finished` being ranked and not confirmed."""
    standings = ties(finished)
    same = [r for r, s in zip(finished[1:], standings[1:], strict=True) if s.tied]
    unknown = sum(s.tied is None for s in standings[1:])
    out = []
    if same:
        out.append(
            f"{counted(len(same), 'trial')} cannot be told from it on these pages: "
            f"{listed([r.trial for r in same])} (paired permutation test at 5 %, Holm's "
            "correction). To decide between them, add pages, or confirm.top=N with new seeds."
        )
        out += _smaller(finished[0], same)
    elif unknown < len(finished) - 1:
        out.append(
            "Every other finished trial that can be compared is worse on these pages (paired "
            "permutation test at 5 %, Holm's correction)."
        )
    if unknown:
        out.append(f"{counted(unknown, 'trial')} have no scores of the same pages to compare.")
    return out


def _smaller(top: TrialRecord, same: list[TrialRecord]) -> list[str]:
    sized = [r for r in same if r.params_m is not None and r.params_m > 0]
    least = min(sized, key=lambda r: r.params_m or 0.0, default=None)
    if least is None or top.params_m is None or (least.params_m or 0.0) >= top.params_m:
        return []
    return [
        f"The smallest of these is trial {least.trial}: {least.params_m:.2f} million weights "
        f"against {top.params_m:.2f}, H-mean {score(least.hmean)}."
    ]


def trade_offs(facts: RunFacts) -> list[str]:
    """That a search for several things has no single winner."""
    figures = facts.config.search.objectives
    if len(figures) < 2:
        return []
    front = [row["trial"] for row in facts.rows if row["pareto"]]
    return [
        f"This search looked for {listed(figures)} together, so no trial is best in all. Trial "
        f"{facts.rows[0]['trial']} is ranked first; on the Pareto front "
        f"{'is' if len(front) == 1 else 'are'} {listed(front) or 'none'}."
    ]


def _settings(top: TrialRecord) -> list[tuple[str, str]]:
    """What the trial is: its settings, those chosen after it, and its size."""
    pairs = [(key, plain(value)) for key, value in top.params.items()]
    pairs += [(f"{key} (chosen after training)", plain(v)) for key, v in top.tuned.items()]
    pairs += [("epochs", f"{top.epochs}, best weights of epoch {top.best_epoch or 'none'}")]
    if top.params_m is not None:
        pairs.append(("size", f"{top.params_m:.2f} million weights"))
    if top.latency_ms is not None:
        pairs.append(("latency", f"{top.latency_ms:.0f} ms for a validation page"))
    if top.iou_hmean is not None:
        pairs.append(("IoU H-mean", score(top.iou_hmean)))
    return pairs


def _use(facts: RunFacts, top: TrialRecord) -> list[Block]:
    if top.checkpoint is None or not (facts.folder / top.checkpoint).is_dir():
        return [Paragraph("Its weights are not in the run folder, so there is nothing to run.")]
    use = {"checkpoint": facts.folder / "best", "images": "FOLDER", "output": "predictions.json"}
    line = command("detector.predict", use)
    return [Command(f"Find the words on the images of a folder with trial {top.trial}:", line)]


def progress(facts: RunFacts) -> str:
    """How many trials there are in each state."""
    counts = {state: len(facts.of(state)) for state in STATES}
    shown = [f"{count} {state}" for state, count in counts.items() if count]
    planned = facts.space.budget.trials
    text = f"{len(facts.records)} of {counted(planned, 'planned trial')} begun"
    return f"{text}: {listed(shown)}." if shown else f"{text}."
