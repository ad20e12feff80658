"""What the four services of a worker share."""

import time
from collections.abc import Collection
from dataclasses import dataclass

import grpc

from data.request import Request
from data.schema import EVENT_KINDS
from gateway.banner.proposing import ProposingT
from gateway.banner.recall import Timelines
from gateway.banner.running import Runner
from gateway.banner.runtime import Runtime
from gateway.banner.stages import Stage, StateT
from gateway.banner.worker_threads import AnswerT, Encode
from gateway.rpc.decoding import request_of
from gateway.rpc.observing import Watch
from gateway.settings.limits import Limits
from proto.tandem.v1 import tandem_pb2 as pb


@dataclass(frozen=True)
class Serving:
    """One bundle, and how a worker answers from it.

    Attributes:
        replay: take the times that requests name.
        exclude_kinds: `EventKind` codes; items that a request's history holds so are not proposed, whatever it asks.
        timelines: what users did, for requests that do not say; None: nothing is remembered.
        watch: counts answers; None: nobody asks.
    """

    runtime: Runtime
    runner: Runner
    limits: Limits
    replay: bool = False
    exclude_kinds: Collection[int] = ()
    timelines: Timelines | None = None
    watch: Watch | None = None

    def watched(self, encode: Encode[StateT, AnswerT], population: str = "") -> Encode[StateT, AnswerT]:
        """`encode`, looked at if anybody counts. `population`: of a banner."""
        return encode if self.watch is None else self.watch.encoding(encode, population)

    def request_of(self, context: pb.Context, user_required: bool = True) -> Request:
        """The context in positions. Raises RefusalError: see `gateway.rpc.decoding.request_of`."""
        runtime = self.runtime
        return request_of(context, runtime.items, self.replay, user_required, self.exclude_kinds, runtime.filters)

    def recalled(
        self, context: pb.Context, request: Request, stages: tuple[Stage[ProposingT], ...], seen_seconds: float = 0.0
    ) -> tuple[Stage[ProposingT], ...]:
        """The stages, with the one before them that reads the user's timeline, if the request needs it.

        Args:
            seen_seconds: how far back rules ask for what the user was shown; 0: none asks.
        """
        if self.timelines is None:
            return stages
        kinds = {*self.exclude_kinds, *(kind % len(EVENT_KINDS) for kind in context.exclude_kinds)}
        return (*self.timelines.recall(self.runtime.items, request, kinds, seen_seconds), *stages)

    def ends(self, context: grpc.aio.ServicerContext) -> float:
        """When the answer is due (perf_counter): our own limit, or the client's, less what the way back takes."""
        seconds = self.limits.total_ms / 1e3
        remaining = context.time_remaining()
        if remaining is not None:
            seconds = min(seconds, remaining - max(0.002, 0.1 * remaining))
        return time.perf_counter() + seconds
