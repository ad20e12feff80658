"""The ranker's stage: a probability for every item."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from data.request import Request
from gateway.banner.runtime import Scorer
from gateway.banner.stages import LeftOut, Progress, Stage, State

if TYPE_CHECKING:
    from ranker.banner.scorer import BannerFeatures

RANKER = "ranker"
"""Stage two's name in stage times and degraded marks."""

_NO_ITEMS = np.empty(0, np.int32)


@dataclass(kw_only=True)
class Ranking(State):
    """A request, the items to rank and, once that is done, what the ranker saw of them and gave them.

    Attributes:
        items: int32 [n], distinct item positions, ascending.
        scores: float32 [n], probabilities; None without a ranker's answer, and `features` too but for a shadow.
        shadow_scores: float32 [n], of a ranker that scores for the log alone.
    """

    request: Request
    items: NDArray[np.int32] = field(default_factory=lambda: _NO_ITEMS)
    features: "BannerFeatures | None" = None
    scores: NDArray[np.float32] | None = None
    shadow_scores: NDArray[np.float32] | None = None


RankingT = TypeVar("RankingT", bound=Ranking)


class Rank(Stage[RankingT]):
    """Score all items with the bundle's ranker; a shadow's features are computed for the log, and no scores; with
    `aside` the scores are for the log alone."""

    name = RANKER

    def __init__(self, scorer: Scorer | None, limit: float, shadow: bool = False, aside: bool = False) -> None:
        self._scorer, self.limit, self._shadow, self._aside = scorer, limit, shadow, aside
        self.bounded = scorer is None or getattr(scorer, "bounded", False)

    def run(self, progress: Progress[RankingT]) -> RankingT:
        state, scorer = progress.state, self._scorer
        if scorer is None:
            raise LeftOut("not in this bundle")
        if not len(state.items):
            return state
        features = scorer.features(state.request, state.items)
        if self._shadow:
            state = state.copied()
            state.features = features
            return state
        scores = scorer.score(features)
        if scores.shape != (len(state.items),) or not np.isfinite(np.add.reduce(scores)):
            raise LeftOut("gave no finite score to every item")
        state = state.copied()
        if self._aside:
            state.features, state.shadow_scores = features, scores
        else:
            state.features, state.scores = features, scores
        return state
