"""`CandidateService`: what each source proposes, and which items are like one."""

from collections.abc import Callable, Sequence
from functools import partial

import grpc
import numpy as np

from data.request import Request
from gateway.banner.assembly import candidate_stages, similar_stages
from gateway.banner.proposing import Proposing
from gateway.banner.similar import Comparing
from gateway.banner.stages import StateT, clock_us, start
from gateway.errors import RefusalError
from gateway.experiment.populations import WatchedExperiment
from gateway.log.answers import CANDIDATES as CANDIDATES_SURFACE
from gateway.log.answers import SIMILAR, Listed, LogAnswer, alike, proposed
from gateway.log.display_log import DisplayLog
from gateway.log.rate_limited import RateLimitedLog
from gateway.rpc.decoding import check_count, excluded_positions, similar_to_position
from gateway.rpc.encoding import candidates_response, similar_response
from gateway.rpc.refusals import invalid
from gateway.rpc.serving import Serving
from gateway.wire import CANDIDATES, REASONS, SIMILAR_ITEMS, SLOTS, Reason
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc


class CandidateService(rpc.CandidateServiceServicer):
    """Stage one alone."""

    def __init__(
        self, serving: Serving, experiment: WatchedExperiment, log: DisplayLog | None, log_failures: RateLimitedLog
    ) -> None:
        """`log`: None where nothing can be logged, as in a tier of candidates alone."""
        self._serving, self._experiment = serving, experiment
        self._log, self._log_failures = log, log_failures

    async def GetCandidates(
        self, message: pb.GetCandidatesRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetCandidatesResponse:
        arrived, serving = clock_us(), self._serving
        runtime = serving.runtime
        count = check_count("k", message.k, SLOTS if message.log else CANDIDATES)
        explain = check_count("explain", message.explain, REASONS, least=0)
        asked = Proposing(request=serving.request_of(message.context, user_required=message.log), per_source=count)
        stages = candidate_stages(runtime, self._source_names(message.sources), serving.limits, explain)
        if message.log:
            stages = (*stages, self._logging(asked.request, CANDIDATES_SURFACE, proposed))
        progress = start(asked, serving.recalled(message.context, asked.request, stages), arrived).lap("parse")

        return await serving.runner.run(
            progress, serving.watched(partial(candidates_response, runtime)), serving.ends(context)
        )

    async def GetSimilarItems(
        self, message: pb.GetSimilarItemsRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetSimilarItemsResponse:
        arrived, serving = clock_us(), self._serving
        runtime = serving.runtime
        k = check_count("k", message.k, SLOTS if message.log else SIMILAR_ITEMS)
        position = similar_to_position(message.item_id, message.country, runtime.items)
        exclude = excluded_positions("exclude_item_ids", message.exclude_item_ids, runtime.items)
        if runtime.similar is None:
            sentence = f"bundle {runtime.version} has no source led to compare items by"
            raise RefusalError("FAILED_PRECONDITION", sentence, Reason.NO_SIMILAR_ITEMS)
        stages = similar_stages(runtime, serving.limits)
        if message.HasField("context"):
            request = serving.request_of(message.context, user_required=message.log)
            self._check_merchant(message, position)
            if request.allowed is not None:
                own = runtime.items.slice_of(request.merchant)
                exclude = np.union1d(exclude, np.setdiff1d(np.arange(own.start, own.stop), request.allowed.items))
            if message.log:
                stages = (*stages, self._logging(request, SIMILAR, alike))
        elif message.log:
            raise invalid("context is missing; expected it with log, for a display is somebody's")
        asked = Comparing(position, message.country, k, exclude.astype(np.int32))
        progress = start(asked, stages, arrived).lap("parse")

        return await serving.runner.run(
            progress, serving.watched(partial(similar_response, runtime)), serving.ends(context)
        )

    def _logging(
        self, request: Request, surface: str, listed: Callable[[StateT], Sequence[Listed]]
    ) -> LogAnswer[StateT]:
        if self._log is None:
            raise RefusalError("FAILED_PRECONDITION", "log: nothing is logged here; expected no log", Reason.EVENT_LOG)
        assigned = self._experiment.current.assignment(request.user_id)
        return LogAnswer(self._log, self._log_failures, self._serving.runtime, assigned, request, surface, listed)

    def _check_merchant(self, message: pb.GetSimilarItemsRequest, position: int) -> None:
        items = self._serving.runtime.items
        own = items.merchants.id(int(items.merchant[position]))
        if message.context.merchant_id != own:
            raise invalid(f"context.merchant_id is {message.context.merchant_id!r}; expected {own!r}, of item_id")

    def _source_names(self, asked: Sequence[str]) -> list[str]:
        known = self._serving.runtime.sources
        for name in asked:
            if name not in known:
                raise invalid(f"sources: expected some of {', '.join(sorted(known))}, found {name!r:.80}")
        return list(dict.fromkeys(asked)) or list(known)
