"""Put one banner together: ask the sources, pool what they propose, have it ranked, fill the slots.

The steps are the same online and offline. Online, a watcher may take a step out that overruns its time (`without`);
offline, `assemble` simply takes them all. Given the same bundle and request the banner is the same: ties are broken by
item position, and the order of the sources does not matter.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candidates.proposals import Proposal
from data.request import Request
from gateway.banner.pooling import Pool, pool_proposals
from gateway.banner.runtime import Runtime

POOL, RANKER = "pool", "ranker"
"""The steps after the sources; RANKER is also the name of stage two in a degraded mark."""

SIMILAR = "similar"
"""The one step of a question for similar items (`gateway/banner/similar.py`)."""

PER_SOURCE = 20
"""Candidates asked of each source, at the least."""


def candidates_per_source(slots: int, least: int = PER_SOURCE) -> int:
    """How many candidates each source is asked for: twice the slots, or `least` if that is more."""
    return max(least, 2 * slots)


@dataclass(frozen=True, slots=True)
class Slot:
    """One place of a banner. `score`: the ranker's probability; 1 / (1 + best rank) where the ranker is missing."""

    position: int
    item: int
    sources: tuple[str, ...]
    score: float


@dataclass(frozen=True)
class Banner:
    """A finished banner.

    Attributes:
        slots: best first; fewer than asked for if the sources know no more items.
        degraded: what failed open, such as "led: late"; empty if nothing.
        stage_us: microseconds per stage, in order; they sum to `total_us`.
        features: the ranker's, for the whole pool; None if it gave none.
        shown: int64 [len(slots)], the slots' rows in the pool and in the features.
        dense_names: of the features.
    """

    slots: tuple[Slot, ...]
    degraded: tuple[str, ...]
    stage_us: dict[str, int]
    features: Any
    shown: NDArray[np.int64]
    dense_names: tuple[str, ...]

    @property
    def total_us(self) -> int:
        return sum(self.stage_us.values())


class Stopwatch:
    """Splits the time since a start among stages, so that the parts add up to the whole."""

    def __init__(self, started_ns: int | None = None) -> None:
        self._last_us = (time.perf_counter_ns() if started_ns is None else started_ns) // 1000
        self.stage_us: dict[str, int] = {}

    def lap(self, stage: str) -> None:
        """Count what has passed since the last lap as `stage`'s."""
        now = time.perf_counter_ns() // 1000
        self.stage_us[stage] = self.stage_us.get(stage, 0) + now - self._last_us
        self._last_us = now

    def copy(self) -> "Stopwatch":
        twin = Stopwatch(self._last_us * 1000)
        twin.stage_us = dict(self.stage_us)
        return twin


class Draft:
    """A banner being put together, step by step.

    One thread takes the steps; another may meanwhile replace the draft by one that goes on `without` the present step.
    The first thread's work on that step then counts for nothing.

    Attributes:
        step: the step to take next (a source's name, POOL or RANKER); None when there is no more.
    """

    def __init__(
        self,
        runtime: Runtime,
        request: Request,
        source_names: Sequence[str],
        per_source: int = PER_SOURCE,
        rank: bool = True,
        watch: Stopwatch | None = None,
    ) -> None:
        self.runtime, self.request, self.per_source = runtime, request, per_source
        self.watch = watch or Stopwatch()
        self.degraded: list[str] = []
        self.proposals: dict[str, Proposal] = {}
        self.pool: Pool | None = None
        self.features: Any = None
        self.scores: NDArray[np.float32] | None = None
        self._steps = [*source_names, *((POOL, RANKER) if rank else ())]
        self._lock = threading.Lock()
        self._replaced = False

    @classmethod
    def to_rank(cls, runtime: Runtime, request: Request, items: NDArray[np.int32]) -> "Draft":
        """A draft whose pool is given: stage two alone."""
        draft = cls(runtime, request, [])
        draft.proposals = {"request": Proposal(items, np.zeros(len(items), np.float32))}
        return draft

    @property
    def step(self) -> str | None:
        return self._steps[0] if self._steps else None

    @property
    def steps(self) -> tuple[str, ...]:
        """What is still to be done, in order."""
        return tuple(self._steps)

    def take_step(self) -> bool:
        """Take the next step. A source or ranker that fails is left out. Returns False if the draft was replaced."""
        step = self._steps[0]
        result: Any = None
        failure = ""
        try:
            result = self._result_of(step)
        except Exception as error:  # whatever it is, the banner goes on without this step
            failure = str(error) if isinstance(error, _AbsentError) else type(error).__name__
        with self._lock:
            if self._replaced:
                return False
            if failure:
                self.degraded.append(f"{step}: {failure}")
            elif step == POOL:
                self.pool = result
            elif step == RANKER:
                self.features, self.scores = result
            else:
                self.proposals[step] = result
            self._steps.pop(0)
            self.watch.lap(step)
        return True

    def without(self, step: str, reason: str) -> "Draft | None":
        """A draft that goes on after `step`, marked; None if that step has been taken by now."""
        with self._lock:
            if self._replaced or self.step != step:
                return None
            self._replaced = True
        twin = Draft(self.runtime, self.request, [], self.per_source, rank=False, watch=self.watch.copy())
        twin.degraded = [*self.degraded, f"{step}: {reason}"]
        twin.proposals, twin.pool = dict(self.proposals), self.pool
        twin.features, twin.scores = self.features, self.scores
        twin._steps = self._steps[1:]
        twin.watch.lap(step)
        return twin

    def banner(self, slots: int) -> Banner:
        """Fill the slots, once every step is taken or left out."""
        pool = self.pool if self.pool is not None else pool_proposals(self.proposals)
        if self.scores is None:
            order = pool.own_order()[:slots]
            values = 1.0 / (1.0 + pool.best_rank[order])
        else:
            order = np.lexsort((pool.items, -self.scores))[:slots]
            values = self.scores[order]
        rows = zip(pool.items[order].tolist(), order.tolist(), values.tolist(), strict=True)
        filled = tuple(Slot(place, item, pool.sources_of(row), score) for place, (item, row, score) in enumerate(rows))
        self.watch.lap("fill")
        return Banner(
            slots=filled,
            degraded=tuple(self.degraded),
            stage_us=self.watch.stage_us,
            features=self.features,
            shown=order,
            dense_names=tuple(self.features.dense_names) if self.features is not None else (),
        )

    def _result_of(self, step: str) -> Any:
        if step == POOL:
            return pool_proposals(self.proposals)
        return self._rank() if step == RANKER else self._propose(step)

    def _propose(self, name: str) -> Proposal:
        source = self.runtime.sources.get(name)
        if source is None:
            raise _AbsentError("not in this bundle")
        proposal = source.propose(self.request, self.per_source)
        items = proposal.items[: self.per_source]
        own = self.runtime.items.slice_of(self.request.merchant)
        if len(items) and not (own.start <= items.min() and items.max() < own.stop):
            raise _AbsentError("proposed another merchant's items")
        return Proposal(items, proposal.scores[: self.per_source])

    def _rank(self) -> tuple[Any, NDArray[np.float32] | None]:
        scorer = self.runtime.scorer
        if scorer is None:
            raise _AbsentError("not in this bundle")
        pool = self.pool
        if pool is None or not len(pool):
            return None, None
        features = scorer.features(self.request, pool.items)
        scores = scorer.score(features)
        if scores.shape != (len(pool),) or not np.isfinite(scores).all():
            raise _AbsentError("gave no finite score to every item")
        return features, scores


def assemble(
    runtime: Runtime,
    request: Request,
    source_names: Sequence[str],
    slots: int,
    per_source: int = PER_SOURCE,
) -> Banner:
    """The banner a gateway with time to spare would give: no threads, no deadlines, no gRPC.

    Args:
        source_names: of the user's population; names the bundle lacks are marked in `degraded`.
        slots: how many to fill.
        per_source: candidates asked of each source, at the least.
    """
    draft = Draft(runtime, request, source_names, candidates_per_source(slots, per_source))
    while draft.step is not None:
        draft.take_step()
    return draft.banner(slots)


class _AbsentError(Exception):
    """A step that gave nothing usable, in words for the degraded mark."""
