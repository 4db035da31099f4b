"""Trainings that repeated one another, though their settings differ."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from orchestrator.run.as_records import BEST, TWIN, trial_id

FEWEST = 3  # different scores above 0, of two curves that are no coincidence


def repeated(trials: Sequence[FrozenTrial]) -> list[str]:
    """A line for each trial whose scores are those of an earlier one, to the last digit.

    Those that were scored with another's weights are left out. It takes a device that computes the
    same twice, as a CPU does.
    """
    trained = [trial for trial in trials if TWIN not in trial.user_attrs]
    lines = []
    for place, trial in enumerate(trained):
        earlier = next((other for other in trained[:place] if _alike(other, trial)), None)
        if earlier is not None:
            both = {*trial.params, *earlier.params}
            apart = sorted(k for k in both if trial.params.get(k) != earlier.params.get(k))
            lines.append(
                f"trial {trial_id(trial.number)} repeated trial {trial_id(earlier.number)} to the "
                f"last digit, so that here this made no difference: {', '.join(apart)}"
            )
    return lines


def _alike(one: FrozenTrial, other: FrozenTrial) -> bool:
    """Whether both had the same scores in all epochs that both reported, and on all pages."""
    mine, others = one.intermediate_values, other.intermediate_values
    epochs = mine.keys() & others.keys()
    if any(mine[epoch] != others[epoch] for epoch in epochs):
        return False
    pages = [trial.user_attrs.get(BEST, {}) for trial in (one, other)]
    if pages[0].get("epoch") == pages[1].get("epoch") and pages[0] != pages[1]:
        return False
    return len({mine[epoch] for epoch in epochs} - {0.0}) >= FEWEST
