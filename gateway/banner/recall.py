"""The stage that reads a user's timeline: a history for a request without one, and what the user was shown lately."""

import dataclasses
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.ids import UNKNOWN
from data.items import ItemTable
from data.request import HISTORY_LIMIT, History, Request
from gateway.banner.awaited import Awaited, as_it_is
from gateway.banner.proposing import ProposingT
from gateway.banner.stages import LeftOut, Progress, Stage
from gateway.banner.worker_threads import WorkerThreads
from gateway.errors import RefusalError
from gateway.timelines.store import Remembered, TimelineError, TimelineStore

TIMELINE = "timeline"
"""The stage's name in stage times and degraded marks."""


@dataclass(frozen=True)
class Timelines:
    """A worker's access to the store.

    Attributes:
        threads: that wait for it. limit: seconds that an answer waits at most.
        always: add what is remembered to histories that requests carry; else only requests without one are helped.
    """

    store: TimelineStore
    threads: WorkerThreads
    limit: float
    always: bool = False

    def recall(
        self, items: ItemTable, request: Request, exclude_kinds: Collection[int] = (), seen_seconds: float = 0.0
    ) -> "tuple[Recall[Any], ...]":
        """The stage that the request needs, if any.

        Args:
            exclude_kinds: `EventKind` codes; items that the timeline holds so are not proposed.
            seen_seconds: how far back rules ask for what the user was shown; 0: none asks.
        """
        history = bool(request.user_id) and (self.always or not len(request.history))
        if not history and not seen_seconds:
            return ()
        read = ReadTimeline[Any](self.store, items, self.limit, history, exclude_kinds, seen_seconds)
        return (Recall(self.threads, read),)


class Recall(Awaited[ProposingT]):
    """Reads on threads of its own: a store that is late or hangs costs an answer its limit, and others nothing."""

    name = TIMELINE

    def __init__(self, threads: WorkerThreads, read: "ReadTimeline[ProposingT]") -> None:
        self._threads, self._read, self.limit = threads, read, read.limit

    async def advance(self, progress: Progress[ProposingT], ends: float) -> Progress[ProposingT]:
        later, now = progress.stages[1:], time.perf_counter()
        due = now + min(self._read.limit, (ends - now) / 2)  # the other half is for the answer itself
        try:
            done = await self._threads.run(progress._replace(stages=(self._read,)), as_it_is, due)
        except RefusalError:  # no thread came free
            return progress.without_next("late")
        return done._replace(stages=later)


class ReadTimeline(Stage[ProposingT]):
    """What `Recall` does on a thread."""

    name = TIMELINE
    limit: float

    def __init__(
        self,
        store: TimelineStore,
        items: ItemTable,
        limit: float,
        history: bool = True,
        exclude_kinds: Collection[int] = (),
        seen_seconds: float = 0.0,
    ) -> None:
        """
        Args:
            limit: seconds.
            history: add what is remembered to the request's own history.
            exclude_kinds: `EventKind` codes; items that the timeline holds so are not proposed.
            seen_seconds: how far back to look for displays and clicks; 0: not at all.
        """
        self._store, self._items, self.limit, self._history = store, items, limit, history
        self._exclude_kinds, self._seen_seconds = list(exclude_kinds), seen_seconds

    def run(self, progress: Progress[ProposingT]) -> ProposingT:
        state, request = progress.state.copied(), progress.state.request
        try:
            if self._history:
                found = self._store.history(request.user_id, before_us=request.ts + 1)
                state.request = self._remembering(request, found)
            if self._seen_seconds:
                since = request.ts - round(1e6 * self._seen_seconds)
                state.seen = self._store.seen(request.user_id, since)
        except TimelineError:
            raise LeftOut("away") from None
        return state

    def _remembering(self, request: Request, found: Remembered) -> Request:
        if not len(found.item_ids):
            return request
        positions = self._items.items.positions(list(found.item_ids))
        own = request.history
        known = (positions != UNKNOWN) & ~np.isin(positions, own.items)
        items, kinds = positions[known], np.array(found.kinds, np.int8)[known]
        exclude: NDArray[np.int32] = request.exclude
        if self._exclude_kinds:
            exclude = np.union1d(exclude, items[np.isin(kinds, self._exclude_kinds)])
        ts = np.array(found.ts_us, np.int64)[known]
        if len(own):
            items, kinds, ts = (np.concatenate(both) for both in ((items, own.items), (kinds, own.kinds), (ts, own.ts)))
            order = np.argsort(ts, kind="stable")
            items, kinds, ts = items[order], kinds[order], ts[order]
        history = History(items[-HISTORY_LIMIT:], kinds[-HISTORY_LIMIT:], ts[-HISTORY_LIMIT:])
        return dataclasses.replace(request, history=history, exclude=exclude)
