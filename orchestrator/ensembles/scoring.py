"""What blends are worth: scored from maps, each once, with post-processing chosen for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from detector.config.postprocess import PostprocessConfig
from detector.core.errors import JobError
from detector.data.labels.pages import Page
from detector.postprocess.sweep import sweep
from detector.postprocess.sweep_scores import CrossFit, second_half
from orchestrator.ensembles.blend import Blend, choose
from orchestrator.ensembles.candidates import Maps


@dataclass(frozen=True, eq=False)
class Scored:
    """A blend at post-processing settings chosen for it.

    metrics: at these settings, chosen on all pages. fitted: what choosing them is worth.
    milliseconds: what a page takes, summed over the maps.
    """

    blend: Blend
    postprocess: PostprocessConfig
    metrics: dict[str, float]
    fitted: CrossFit
    milliseconds: float


class Scorer:
    """Scores blends over `pages` at `settings`, the same blend once.

    most: trials of a blend. limit: milliseconds that a page may take; infinite for any.
    """

    def __init__(
        self,
        maps: Maps,
        pages: Sequence[Page],
        settings: Sequence[PostprocessConfig],
        *,
        most: int,
        limit: float = math.inf,
        told: Callable[[Scored], None] = lambda _: None,
    ) -> None:
        self._maps = maps
        self._pages = pages
        self._settings = settings
        self._most = most
        self._limit = limit
        self._told = told
        self._scored: dict[Blend, Scored] = {}

    def __call__(self, blend: Blend) -> Scored:
        """The scores of a blend. Raises JobError when fewer than two pages could be scored."""
        same = Blend(tuple(sorted(blend.trials)), tuple(sorted(blend.scales)))
        if same not in self._scored:
            self._scored[same] = self._score(blend)
            self._told(self._scored[same])
        return self._scored[same]

    def fits(self, blend: Blend) -> bool:
        """Whether a blend has few enough trials and takes little enough time."""
        return len(blend.trials) <= self._most and self._milliseconds(blend) <= self._limit

    def path(self, trials: Sequence[str], scales: Sequence[float]) -> list[Scored]:
        """What is chosen step by step by the cross-fitted H-mean of all pages (see `choose`)."""
        found = choose(trials, scales, score=lambda b: self(b).fitted.hmean, fits=self.fits)
        return [self(blend) for blend in found]

    def expected(self, trials: Sequence[str], scales: Sequence[float]) -> float | None:
        """What choosing so is worth on pages that took no part: each half chosen for by the other.

        None when a half has no page with a score.
        """
        names = sorted(self(Blend((trials[0],))).fitted.page_hmeans)
        second = dict(zip(names, second_half(len(names)).tolist(), strict=True))
        unseen: list[float] = []
        for half in (False, True):

            def seen(blend: Blend, half: bool = half) -> float:
                return _mean(self(blend), [name for name in names if second[name] is not half])

            path = choose(trials, scales, score=seen, fits=self.fits)
            if not path:
                return None
            scores = self(path[-1]).fitted.page_hmeans
            unseen += [scores[n] for n in names if second[n] is half and n in scores]
        return fmean(unseen) if unseen else None

    def _score(self, blend: Blend) -> Scored:
        swept = sweep(self._maps.mean(blend.views()), self._pages, self._settings)
        fitted = swept.cross_fit()
        if fitted is None:
            raise JobError(
                "an ensemble is chosen by halves of the validation pages, and fewer than two pages "
                "with words could be read; give a data.root whose pages are there"
            )
        best = swept.best()
        return Scored(
            blend,
            swept.settings[best],
            swept.scores(best).metrics(),
            fitted,
            self._milliseconds(blend),
        )

    def _milliseconds(self, blend: Blend) -> float:
        return sum(self._maps.milliseconds(view) for view in blend.views())


def _mean(scored: Scored, names: Sequence[str]) -> float:
    """Mean cross-fitted H-mean over some pages; 0 without any."""
    known = [scored.fitted.page_hmeans[n] for n in names if n in scored.fitted.page_hmeans]
    return fmean(known) if known else 0.0
