"""Similar items as a step of a lane, so that its deadline is kept as a source's is."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from candidates.proposals import Proposal
from candidates.retrieval.similar import Similar, SimilarItems
from data.request import Request
from gateway.banner.assembly import SIMILAR, Draft, Stopwatch
from gateway.banner.runtime import Runtime
from gateway.errors import RefusalError


class SimilarDraft(Draft):
    """One question for the items like the one at `position`; `found` is the answer once the step is taken."""

    def __init__(
        self,
        runtime: Runtime,
        position: int,
        country: str,
        k: int,
        exclude: NDArray[np.int32],
        watch: Stopwatch,
    ) -> None:
        """Raises RefusalError (FAILED_PRECONDITION) if the bundle has no vectors to compare."""
        if runtime.similar is None:
            raise RefusalError("FAILED_PRECONDITION", f"bundle {runtime.version} has no source led to compare items by")
        request = Request("", int(runtime.items.merchant[position]), country, 0, exclude=exclude)
        super().__init__(runtime, request, [SIMILAR], k, rank=False, watch=watch)
        self._similar: SimilarItems = runtime.similar
        self._position = position
        self.found: Similar | None = None

    def _result_of(self, step: str) -> Any:
        request = self.request
        self.found = self._similar.find(self._position, request.country, self.per_source, request.exclude)
        return Proposal(self.found.items, self.found.scores)


def answer_of(done: Draft) -> Similar:
    """What a draft found. Raises RefusalError (UNAVAILABLE) if its step was late or failed."""
    if isinstance(done, SimilarDraft) and done.found is not None and not done.degraded:
        return done.found
    raise RefusalError("UNAVAILABLE", "; ".join(done.degraded) or f"{SIMILAR}: no answer")
