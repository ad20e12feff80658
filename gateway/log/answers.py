"""Answers that are no banners, logged as displays where a caller asks: what a page shows of them is measured too."""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from data.request import Request
from gateway.banner.filling import Filling, Slot
from gateway.banner.proposing import Proposing
from gateway.banner.runtime import Runtime
from gateway.banner.similar import Comparing
from gateway.banner.stages import Progress, Stage, StateT
from gateway.experiment.populations import Assignment
from gateway.log.display_log import DisplayLog
from gateway.log.displays import display_record, known_beforehand, not_logged
from gateway.log.rate_limited import RateLimitedLog

CANDIDATES, SIMILAR = "candidates", "similar"
"""Surfaces, as displays name them."""


class Listed(NamedTuple):
    """One item of an answer: its position, who proposed it, its score there."""

    item: int
    sources: tuple[str, ...]
    score: float


def proposed(state: Proposing) -> list[Listed]:
    """What sources proposed, source after source, each item once, with its score in the first that did."""
    found: dict[int, Listed] = {}
    for name, proposal in state.proposals.items():
        for item, score in zip(proposal.items.tolist(), proposal.scores.tolist(), strict=True):
            known = found.get(item)
            found[item] = (
                Listed(item, (name,), score) if known is None else known._replace(sources=(*known.sources, name))
            )
    return list(found.values())


def alike(state: Comparing) -> list[Listed]:
    """The items like one."""
    found = state.found
    if found is None:
        return []
    pairs = zip(found.items.tolist(), found.scores.tolist(), strict=True)
    return [Listed(item, (SIMILAR,), score) for item, score in pairs]


class LogAnswer(Stage[StateT]):
    """Write the answer. One that cannot be logged is given all the same, marked, and without an id."""

    name = "log"
    bounded = True

    def __init__(
        self,
        log: DisplayLog,
        failures: RateLimitedLog,
        runtime: Runtime,
        assigned: Assignment,
        request: Request,
        surface: str,
        listed: Callable[[StateT], Sequence[Listed]],
    ) -> None:
        """`request`: whom the answer is shown to."""
        self._log, self._failures, self._runtime = log, failures, runtime
        self._known, self._request = known_beforehand(assigned, runtime), request
        self._surface, self._listed = surface, listed

    def run(self, progress: Progress[StateT]) -> StateT:
        named = self._runtime.item_bytes.named
        slots = tuple(
            Slot(place, one.item, *named(one.item), one.sources, one.score)
            for place, one in enumerate(self._listed(progress.state))
        )
        if not slots:
            return progress.state
        shown = Filling(request=self._request, per_source=0, slot_count=len(slots), slots=slots)
        as_banner = Progress(shown, (), progress.since_us, progress.left_out, progress.laps)
        state, display_id = progress.state.copied(), os.urandom(16).hex()
        try:
            self._log.write([display_record(display_id, as_banner, self._runtime, self._known, surface=self._surface)])
        except Exception as error:
            raise not_logged(error, self._failures) from None
        state.display_id = display_id
        return state
