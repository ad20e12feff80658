"""Recall before and after new items came in: on items that were there, and on the new ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from candidates.cold_start.catalog_diff import CatalogDiff
from candidates.evaluation import HeldOut, evaluate_sources
from candidates.proposals import CandidateSource
from data.request import History, Request


@dataclass(frozen=True)
class Question:
    """Held-out requests in positions of after, by what their targets are."""

    old: list[HeldOut]
    new: list[HeldOut]

    @classmethod
    def of(cls, requests: Sequence[HeldOut], diff: CatalogDiff) -> "Question":
        """A request whose targets are of both kinds is asked about each."""
        parts: tuple[list[HeldOut], list[HeldOut]] = ([], [])
        for one in requests:
            is_new = np.isin(one.targets, diff.added)
            for part, targets in zip(parts, (one.targets[~is_new], one.targets[is_new]), strict=True):
                if len(targets):
                    part.append(replace(one, targets=targets))
        return cls(*parts)


def recall_before(
    sources: Mapping[str, CandidateSource], question: Question, diff: CatalogDiff
) -> dict[str, dict[str, dict[str, Any]]]:
    """Of sources that know the catalog of before: what they know of each request, in their positions.

    New items they cannot propose, so their recall there is 0 and no source is asked.
    """
    asked = [_before(one, diff) for one in question.old]
    old = evaluate_sources(sources, [one for one in asked if one is not None])
    none = {name: evaluate_sources({name: _Nothing()}, question.new)[name] for name in sources}
    return {"old": old, "new": none}


def recall_after(sources: Mapping[str, CandidateSource], question: Question) -> dict[str, dict[str, dict[str, Any]]]:
    return {"old": evaluate_sources(sources, question.old), "new": evaluate_sources(sources, question.new)}


def _before(one: HeldOut, diff: CatalogDiff) -> HeldOut | None:
    """None for a merchant that was not there: then no old item is a target."""
    merchant = np.flatnonzero(diff.merchants == one.request.merchant)
    if not len(merchant):
        return None
    history = one.request.history
    known = np.isin(history.items, diff.moved)
    request = replace(
        one.request,
        merchant=int(merchant[0]),
        history=History(diff.back(history.items), history.kinds[known], history.ts[known]),
        exclude=diff.back(one.request.exclude),
    )
    return HeldOut(request, diff.back(one.targets))


class _Nothing:
    """A source that has nothing to propose."""

    name, bounded = "nothing", True

    def propose(self, request: Request, k: int) -> Any:
        from candidates.proposals import NOTHING

        return NOTHING
