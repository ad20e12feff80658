"""Which candidate stands in which place of a banner, and with which probability it came to stand there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from gateway.rules.settings import Diversity, Explore, PerCategory


@dataclass(frozen=True)
class Candidates:
    """n items to choose from, best first.

    Attributes:
        strength: float64 [n], not increasing: the logit of the ranker's score, or the logarithm of another merit.
        groups: int [n], categories as numbers; None where no rule looks at them.
        likeness: () -> float32 [m, m], how alike two of the best m are, 1 at most; None where no rule looks at it.
    """

    strength: NDArray[np.float64]
    groups: NDArray[np.integer] | None = None
    likeness: Callable[[], NDArray[np.float32]] | None = None


@dataclass(frozen=True)
class Choice:
    """The candidates in a banner's places.

    Attributes:
        places: of the candidates, first slot first.
        propensities: the probability of each, given those before it; 1 where nothing was drawn.
        moved: places that hold another candidate than the order alone would give. beyond: items beyond the limit of
            their category, for want of others. among: candidates that a draw chose from, at most.
    """

    places: list[int]
    propensities: list[float]
    moved: int = 0
    beyond: int = 0
    among: int = 0


def choose(
    candidates: Candidates,
    count: int,
    fixed: Mapping[int, int],
    diversity: Diversity | None = None,
    per_category: PerCategory | None = None,
    explore: Explore | None = None,
    draw: Random | None = None,
) -> Choice:
    """Fill `count` places, the first first; fewer if there are no more candidates.

    Args:
        fixed: place, 0 first -> the candidate that it is given to.
        draw: where `explore` takes its chances from; two for each place that explores, whatever they decide.
    """
    n = len(candidates.strength)
    left = np.ones(n, bool)
    left[list(fixed.values())] = False
    among = 0 if explore is None else min(explore.among, int(left.sum()))
    near = np.zeros(n, bool)
    near[np.flatnonzero(left)[:among]] = True
    marginal = None if diversity is None or not n else _Marginal(candidates, diversity)
    taken = _Taken(candidates.groups, per_category)
    places: list[int] = []
    propensities: list[float] = []
    beyond = 0
    while len(places) < min(count, n):
        slot, probability = len(places), 1.0
        if slot in fixed:
            chosen = fixed[slot]
        else:
            open_ = left & taken.below
            if not open_.any():
                open_ = left
                beyond += bool(left.any())
            if not open_.any():  # fixed ones alone are left, for later places
                break
            chosen = int(np.argmax(open_)) if marginal is None else marginal.best(open_)
            if explore is not None and draw is not None and (not explore.slots or slot + 1 in explore.slots):
                chosen, probability = _drawn(explore, candidates.strength, np.flatnonzero(open_ & near), chosen, draw)
        left[chosen] = False
        taken.add(chosen)
        if marginal is not None:
            marginal.add(chosen)
        places.append(chosen)
        propensities.append(probability)
    moved = sum(one != place for place, one in enumerate(places))
    return Choice(places, propensities, moved, beyond, among)


def _drawn(
    explore: Explore, strength: NDArray[np.float64], near: NDArray[np.int64], best: int, draw: Random
) -> tuple[int, float]:
    """(the candidate that is drawn, its probability)."""
    first, second = draw.random(), draw.random()
    if not len(near):
        return best, 1.0
    if explore.kind == "softmax":
        assert explore.temperature is not None
        logits = strength[near] / explore.temperature
        weights = np.exp(logits - logits.max())
        shares = weights / weights.sum()
        place = min(int(np.searchsorted(np.cumsum(shares), first, side="right")), len(near) - 1)
        return int(near[place]), float(shares[place])
    assert explore.share is not None
    chosen = int(near[int(second * len(near))]) if first < explore.share else best
    of_draw = explore.share / len(near) if chosen in near else 0.0
    return chosen, of_draw + (1 - explore.share) * (chosen == best)


class _Taken:
    """How many items of each category stand already. `below`: bool [n], whose category has room."""

    def __init__(self, groups: NDArray[np.integer] | None, rule: PerCategory | None) -> None:
        self._groups, self._rule = groups, rule
        self._counts: dict[int, int] = {}
        self.below: NDArray[np.bool_] | bool = True if groups is None or rule is None else np.ones(len(groups), bool)

    def add(self, chosen: int) -> None:
        if self._groups is None or self._rule is None:
            return
        group = int(self._groups[chosen])
        self._counts[group] = self._counts.get(group, 0) + 1
        if self._counts[group] >= self._rule.most:
            self.below = self.below & (self._groups != group)


class _Marginal:
    """Maximal marginal relevance of the best m candidates, given those that stand already."""

    def __init__(self, candidates: Candidates, rule: Diversity) -> None:
        assert candidates.likeness is not None
        self._likeness = candidates.likeness()
        m = len(self._likeness)
        scores = 1 / (1 + np.exp(-candidates.strength[:m]))
        spread = scores.max() - scores.min()
        self._worth = (1 - rule.weight) * ((scores - scores.min()) / spread if spread else np.ones(m))
        self._weight, self._closest = rule.weight, np.zeros(m)
        self._any = False

    def best(self, open_: NDArray[np.bool_]) -> int:
        """Of those that are open; the first of equals. Beyond the best m the order alone counts."""
        m = len(self._worth)
        inside = open_[:m]
        if not inside.any():
            return int(np.argmax(open_))
        if not self._any:
            return int(np.argmax(inside))
        return int(np.argmax(np.where(inside, self._worth - self._weight * self._closest, -np.inf)))

    def add(self, chosen: int) -> None:
        if chosen < len(self._worth):
            of_chosen = self._likeness[chosen]
            self._closest = np.maximum(self._closest, of_chosen) if self._any else of_chosen.astype(np.float64)
            self._any = True
