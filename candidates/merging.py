"""Choose how the sources' places are merged: on validation users, by the recall of a banner's slots.

For each set of sources the contenders are: the sources in turns; each source first, the others filling up; and
reciprocal ranks weighted 1, a, a b, a b b, ... by falling recall of the sources alone (`merge_order.py`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candidates.evaluation import HeldOut
from candidates.merge_order import MergeOrder, MergeRule, in_turns
from candidates.pool import pool_proposals
from candidates.proposals import CandidateSource, Proposal
from data.statistics import Mean

SLOTS = (6, 20)
"""Recall is measured at these sizes of a banner, and chosen by the mean of both."""

PROPOSED = 2 * max(SLOTS)
"""What each source proposes for a banner of so many slots (gateway/banner/assembly.py)."""

FEWEST = 20
"""With fewer requests nothing is chosen: the sources take turns."""

MOST_SOURCES = 4
"""Of more sources the sets are too many: those of two and those of all are chosen for."""

_SURE = 2.0
_FILLING = 1e-6
_FACTORS = (0.03, 0.1, 0.3, 1.0)
_FURTHER = (0.1, 1.0)
_CONSTANTS = (1.0, 5.0, 20.0)


@dataclass(frozen=True)
class Asked:
    """Held-out requests with what the sources propose for them.

    Attributes:
        proposals: of each request, by source. targets: of each, int32 item positions. users: of each.
    """

    proposals: list[dict[str, Proposal]]
    targets: list[NDArray[np.int32]]
    users: list[str]

    @classmethod
    def of(cls, sources: Mapping[str, CandidateSource], held_out: Sequence[HeldOut]) -> "Asked":
        return cls(
            [{name: one.propose(ask.request, PROPOSED) for name, one in sources.items()} for ask in held_out],
            [ask.targets for ask in held_out],
            [ask.request.user_id for ask in held_out],
        )

    def of_users(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 [users]: the mean of each user's requests."""
        _, user = np.unique(self.users, return_inverse=True)
        return np.bincount(user, values) / np.bincount(user)


@dataclass(frozen=True)
class _Places:
    """The pools of all requests as rows, for one set of sources.

    Attributes:
        request: int64 [n]. items: int32 [n], ascending within a request. hit: bool [n], whether it is a target.
        place: float64 [n, S], in each source's proposal, infinite where the source does not propose it.
        wanted: int64 [requests], targets of each.
    """

    request: NDArray[np.int64]
    hit: NDArray[np.bool_]
    place: NDArray[np.float64]
    wanted: NDArray[np.int64]

    @classmethod
    def of(cls, asked: Asked, names: tuple[str, ...]) -> "_Places":
        parts, hits, request = [], [], []
        for number, (proposals, targets) in enumerate(zip(asked.proposals, asked.targets, strict=True)):
            pooled = np.unique(np.concatenate([proposals[name].items for name in names]))
            place = np.full((len(pooled), len(names)), np.inf)
            for column, name in enumerate(names):
                items = proposals[name].items
                place[np.searchsorted(pooled, items), column] = np.arange(len(items))
            parts.append(place)
            hits.append(np.isin(pooled, targets))
            request.append(np.full(len(pooled), number))
        wanted = np.array([len(targets) for targets in asked.targets])
        return cls(np.concatenate(request), np.concatenate(hits), np.concatenate(parts), wanted)

    def recalls(self, rule: MergeRule) -> NDArray[np.float64]:
        """float64 [requests]: recall of the slots, the mean over `SLOTS`."""
        values = np.asarray(rule.weights) / (rule.k + self.place)
        merit = values.max(axis=1) if rule.best else values.sum(axis=1)
        order = np.lexsort((-merit, self.request))
        starts = np.searchsorted(self.request, np.arange(len(self.wanted)))
        at = np.arange(len(order)) - starts[self.request]
        found = [
            np.bincount(self.request, self.hit[order] & (at < slots), len(self.wanted)) / np.minimum(slots, self.wanted)
            for slots in SLOTS
        ]
        return np.mean(found, axis=0)


def choose_order(sources: Mapping[str, CandidateSource], held_out: Sequence[HeldOut]) -> tuple[MergeOrder, Any]:
    """The rule of each set of sources, and figures for the manifest: per set the rule and what it was chosen by.

    Args:
        sources: in the order of `SOURCES`, the more personal ones later: the later one comes first where validation
            users cannot tell two apart.
        held_out: validation requests; with fewer than `FEWEST` the sources take turns.
    """
    if len(held_out) < FEWEST or len(sources) < 2:
        return MergeOrder(), {"requests": len(held_out), "chosen": {}}
    asked = Asked.of(sources, held_out)
    sizes = range(2, len(sources) + 1) if len(sources) <= MOST_SOURCES else (2, len(sources))
    rules, figures = {}, {}
    for names in (one for size in sizes for one in combinations(sources, size)):
        rule, told = _choose(asked, names)
        rules[rule.sources] = rule
        figures[" + ".join(names)] = told
    return MergeOrder(rules), {"requests": len(held_out), "slots": list(SLOTS), "chosen": figures}


def _choose(asked: Asked, names: tuple[str, ...]) -> tuple[MergeRule, dict[str, Any]]:
    """The best of the contenders. A merge has to be better than a source that comes first, by `_SURE` errors."""
    ordered = tuple(sorted(names))
    places = _Places.of(asked, ordered)

    def recalls(rule: MergeRule) -> NDArray[np.float64]:
        return asked.of_users(places.recalls(rule))

    alone = {
        name: recalls(_falling([name, *(one for one in names[::-1] if one != name)], _FILLING, _FILLING, 1.0))
        for name in names
    }
    leader = _best_source(alone)
    falling = sorted(names, key=lambda name: (name != leader, -alone[name].mean()))
    contenders = {f"{leader} first": _falling(falling, _FILLING, _FILLING, 1.0), "in turns": in_turns(ordered)}
    further = _FURTHER if len(names) > 2 else (1.0,)
    for k in _CONSTANTS:
        for factor in _FACTORS:
            for next_factor in further:
                rule = _falling(falling, factor, next_factor, k)
                contenders[
                    "weights "
                    + ", ".join(f"{one} {rule.weights[ordered.index(one)]:g}" for one in falling)
                    + f"; k {k:g}"
                ] = rule
    found = {name: recalls(rule) for name, rule in contenders.items()}
    first = next(iter(found))
    best = max(found, key=lambda name: found[name].mean())
    gain = Mean.of(found[best] - found[first])
    chosen = best if gain.value > _SURE * gain.error else first
    return contenders[chosen], {
        "rule": chosen,
        "recall": _mean(found[chosen]),
        "in turns": _mean(found["in turns"]),
        "alone": {name: _mean(values) for name, values in alone.items()},
        "less the best source": _mean(found[chosen] - found[first]),
    }


def _best_source(alone: Mapping[str, NDArray[np.float64]]) -> str:
    """The source of the highest recall, or a later one whose recall is not lower by more than a standard error."""
    names = list(alone)
    top = max(names, key=lambda name: alone[name].mean())
    for name in names[: names.index(top) : -1]:
        loss = Mean.of(alone[top] - alone[name])
        if loss.value <= loss.error:
            return name
    return top


def _falling(names: Sequence[str], factor: float, further: float, k: float) -> MergeRule:
    """Weights 1, a, a b, a b b, ... in the order of the names."""
    weights = {name: 1.0 if not place else factor * further ** (place - 1) for place, name in enumerate(names)}
    ordered = tuple(sorted(names))
    return MergeRule(sources=ordered, weights=tuple(weights[name] for name in ordered), k=k)


def _mean(values: NDArray[np.float64]) -> dict[str, float]:
    mean = Mean.of(values)
    return {"mean": mean.value, "se": mean.error}


def evaluate_order(
    order: MergeOrder, sources: Mapping[str, CandidateSource], held_out: Sequence[HeldOut], k: int = max(SLOTS)
) -> dict[str, Any]:
    """Recall@k of all sources, merged, and less that of the best of them (chosen here: in its favour); by user.

    Returns:
        {"recall@k", "recall@k_se", "less best", "less best_se", "best", "users", "requests"}.
    """
    asked = Asked.of(sources, held_out)
    by_name: dict[str, list[float]] = defaultdict(list)
    for proposals, targets in zip(asked.proposals, asked.targets, strict=True):
        pool = pool_proposals(proposals, order)
        shown = {name: one.items[:k] for name, one in proposals.items()} | {_ALL: pool.items[pool.own_order()[:k]]}
        for name, items in shown.items():
            by_name[name].append(float(np.isin(items, targets).sum()) / min(k, len(targets)))
    if not by_name:
        return {"users": 0, "requests": 0}
    found = {name: asked.of_users(np.array(values)) for name, values in by_name.items()}
    merged = found.pop(_ALL)
    best = max(found, key=lambda name: float(found[name].mean()))
    mean, difference = Mean.of(merged), Mean.of(merged - found[best])
    return {
        f"recall@{k}": mean.value,
        f"recall@{k}_se": mean.error,
        "best": best,
        "less best": difference.value,
        "less best_se": difference.error,
        "users": len(merged),
        "requests": len(held_out),
    }


_ALL = "all, merged"
