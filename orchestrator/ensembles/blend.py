"""What may be averaged, and the greedy choice among it (Caruana et al. 2004)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Blend:
    """Trials whose maps are averaged, each at every one of some page sizes (1 = as validated)."""

    trials: tuple[str, ...]
    scales: tuple[float, ...] = (1.0,)

    def views(self) -> list[tuple[str, float]]:
        """Each map that is averaged, as (trial, scale)."""
        return [(trial, scale) for trial in self.trials for scale in self.scales]

    def __str__(self) -> str:
        sizes = "" if self.scales == (1.0,) else f" at {', '.join(f'{s:g}' for s in self.scales)}"
        return " + ".join(self.trials) + sizes


def choose(
    trials: Sequence[str],
    scales: Sequence[float],
    *,
    score: Callable[[Blend], float],
    fits: Callable[[Blend], bool],
) -> list[Blend]:
    """The best single trial, and each larger blend that was better than the one before it.

    A step adds the trial or the page size that raises `score` most; it ends where none does, or
    where nothing else `fits`. Of equal ones the one listed first is taken, so with a single trial
    and scale that is all. Empty when no single trial fits.
    """
    singles = [blend for trial in trials if fits(blend := Blend((trial,)))]
    if not singles:
        return []
    path = [max(singles, key=score)]
    while steps := [blend for blend in _larger(path[-1], trials, scales) if fits(blend)]:
        best = max(steps, key=score)
        if score(best) <= score(path[-1]):
            break
        path.append(best)
    return path


def _larger(blend: Blend, trials: Sequence[str], scales: Sequence[float]) -> Iterator[Blend]:
    """`blend` with one more trial or page size."""
    for trial in trials:
        if trial not in blend.trials:
            yield replace(blend, trials=(*blend.trials, trial))
    for scale in scales:
        if scale not in blend.scales:
            yield replace(blend, scales=(*blend.scales, scale))
