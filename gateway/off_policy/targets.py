"""Policies to evaluate: what each would have done at the log's banners, with which chance."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from data.request import History, Request
from data.schema import EventKind
from gateway.banner.assembly import banner_stages, candidates_per_source
from gateway.banner.filling import Filling, strength_of
from gateway.banner.runtime import Runtime
from gateway.banner.stages import run, start
from gateway.off_policy.estimates import Floats
from gateway.off_policy.logged import ExploredLog, OffPolicyError
from gateway.off_policy.plackett_luce import conditional, draw, expected_score
from gateway.off_policy.reward_model import PlaceScores

_FAR = 1e3
"""Between the log merits of neighbours of an order that is not drawn: the better one is certain."""


@dataclass(frozen=True)
class Chances:
    """What a policy would do at n logged banners of S places.

    Attributes:
        target: float64 [n, S], chance of the logged item in its place given the logged places before it.
        scores: for the reward model; None: nothing is known of the items.
    """

    target: Floats
    scores: PlaceScores | None


class Target(Protocol):
    """A policy to evaluate."""

    @property
    def name(self) -> str:
        """In words."""
        ...

    def chances(self, log: ExploredLog) -> Chances:
        """At the banners of a log."""
        ...


@dataclass(frozen=True)
class UniformPolicy:
    """Every item that the log's policy drew among is as likely; a place that it did not draw stays as it was."""

    @property
    def name(self) -> str:
        return "uniform among the same items"

    def chances(self, log: ExploredLog) -> Chances:
        places = np.arange(log.propensity.shape[1])
        left = np.maximum(1, log.among[:, None] - places)
        return Chances(np.where(log.propensity < 1, 1.0 / left, 1.0), None)


@dataclass(frozen=True)
class RecommendedPolicy:
    """Banners of a bundle, made again from what the log says of the request.

    The log keeps a user's newest items, not all of them, and not what the caller excluded: banners of long histories
    differ somewhat from those that would have been shown.

    Attributes:
        bundle: a bundle's folder. sources: None: all of it.
        order: the bundle's own, or the ranker's or the sources' alone.
        temperature: 0: best first, always. Else places are drawn by Plackett-Luce from their strength over the
            temperature, as exploration rules do (`gateway.banner.filling.strength_of`).
        among: of the best so many; None: of all.
    """

    bundle: Path
    sources: tuple[str, ...] | None = None
    order: Literal["bundle", "ranker", "sources"] = "bundle"
    temperature: float = 0.0
    among: int | None = None
    seed: int = 1

    @property
    def name(self) -> str:
        drawn = f", softmax t={self.temperature:g}" if self.temperature else ""
        drawn += f" among {self.among}" if drawn and self.among else ""
        return f"{self.bundle.name}: {' + '.join(self.sources or ('all sources',))}, order of the {self.order}{drawn}"

    def chances(self, log: ExploredLog) -> Chances:
        """Raises OffPolicyError: a source that the bundle lacks."""
        runtime = Runtime.load(self.bundle)
        shares = {"bundle": runtime.ranker_share, "ranker": 1.0, "sources": 0.0}
        runtime = replace(runtime, ranker_share=shares[self.order])
        names = tuple(sorted(self.sources or runtime.sources))
        if unknown := set(names) - set(runtime.sources):
            raise OffPolicyError(
                f"bundle {runtime.version} has no source {min(unknown)!r}; it has {', '.join(runtime.sources)}"
            )
        replayed = [self._banner(runtime, names, log, row) for row in range(len(log.users))]
        width = max(len(merit) for merit, _, _ in replayed) + 1  # the last column: items that the policy lacks
        merit, score = (np.full((len(replayed), width), fill) for fill in (-np.inf, 0.0))
        shown: NDArray[np.int64] = np.full(log.propensity.shape, width - 1)
        for row, (merits, values, logged) in enumerate(replayed):
            merit[row, : len(merits)], score[row, : len(values)] = merits, values
            kept = logged[: shown.shape[1]]
            shown[row, : len(kept)] = np.where(kept < 0, width - 1, kept)
        rows = np.arange(len(merit))[:, None]
        own = draw(merit, shown.shape[1], np.random.default_rng(self.seed))
        scores = PlaceScores(score[rows, shown], expected_score(merit, shown, score), score[rows, own])
        return Chances(np.where(log.filled > 0, conditional(merit, shown), 1.0), scores)

    def _banner(
        self, runtime: Runtime, names: Sequence[str], log: ExploredLog, row: int
    ) -> tuple[Floats, Floats, np.ndarray]:
        """(log merit [M], score [M], the logged items' places among the M or -1) of one logged banner."""
        nothing = np.empty(0)
        logged = log.displays["item_ids"][row].as_py()
        request = _request(runtime, log, row)
        if request is None:
            return nothing, nothing, np.full(len(logged), -1)
        asked = Filling(request=request, per_source=candidates_per_source(len(logged)), slot_count=len(runtime.items))
        state = run(start(asked, banner_stages(runtime, names))).state
        order = state.shown
        score = strength_of(state.pool, state.scores, runtime.ranker_share)[order]
        merit: Floats = (
            score / self.temperature if self.temperature else -_FAR * np.arange(len(order), dtype=np.float64)
        )
        if self.temperature and self.among is not None:
            merit[self.among :] = -np.inf
        where = {int(item): number for number, item in enumerate(state.pool.items[order])}
        positions = runtime.items.items.positions(logged)
        return merit, score, np.array([where.get(int(one), -1) for one in positions])


def _request(runtime: Runtime, log: ExploredLog, row: int) -> Request | None:
    """The logged request in the bundle's positions; None: a merchant that it lacks."""
    told = {name: log.displays[name][row] for name in ("user_id", "merchant_id", "country", "publisher", "device")}
    merchant = runtime.items.merchants.position(told["merchant_id"].as_py())
    if merchant < 0:
        return None
    ts = log.displays["ts"][row].value
    items = runtime.items.items.positions(log.displays["recent_items"][row].as_py())
    items = items[items >= 0]
    kinds, moments = np.full(len(items), EventKind.view, np.int8), np.full(len(items), ts, np.int64)
    user, country, publisher, device = (told[name].as_py() for name in ("user_id", "country", "publisher", "device"))
    return Request(user, merchant, country, ts, History(items, kinds, moments), publisher, device)
