"""`CandidateService`: what each source proposes, and which items are like one."""

from collections.abc import Sequence
from functools import partial

import grpc

from gateway.banner.assembly import candidate_stages, similar_stages
from gateway.banner.proposing import Proposing
from gateway.banner.similar import Comparing
from gateway.banner.stages import clock_us, start
from gateway.errors import RefusalError
from gateway.rpc.decoding import check_count, excluded_positions, similar_to_position
from gateway.rpc.encoding import candidates_response, similar_response
from gateway.rpc.refusals import invalid
from gateway.rpc.serving import Serving
from gateway.wire import CANDIDATES, REASONS, SIMILAR_ITEMS, Reason
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc


class CandidateService(rpc.CandidateServiceServicer):
    """Stage one alone."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def GetCandidates(
        self, message: pb.GetCandidatesRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetCandidatesResponse:
        arrived, serving = clock_us(), self._serving
        runtime = serving.runtime
        count = check_count("k", message.k, CANDIDATES)
        explain = check_count("explain", message.explain, REASONS, least=0)
        asked = Proposing(request=serving.request_of(message.context, user_required=False), per_source=count)
        stages = candidate_stages(runtime, self._source_names(message.sources), serving.limits, explain)
        progress = start(asked, serving.recalled(message.context, asked.request, stages), arrived).lap("parse")

        return await serving.runner.run(
            progress, serving.watched(partial(candidates_response, runtime)), serving.ends(context)
        )

    async def GetSimilarItems(
        self, message: pb.GetSimilarItemsRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetSimilarItemsResponse:
        arrived, serving = clock_us(), self._serving
        runtime = serving.runtime
        k = check_count("k", message.k, SIMILAR_ITEMS)
        position = similar_to_position(message.item_id, message.country, runtime.items)
        exclude = excluded_positions("exclude_item_ids", message.exclude_item_ids, runtime.items)
        if runtime.similar is None:
            sentence = f"bundle {runtime.version} has no source led to compare items by"
            raise RefusalError("FAILED_PRECONDITION", sentence, Reason.NO_SIMILAR_ITEMS)
        asked = Comparing(position, message.country, k, exclude)
        progress = start(asked, similar_stages(runtime, serving.limits), arrived).lap("parse")

        return await serving.runner.run(
            progress, serving.watched(partial(similar_response, runtime)), serving.ends(context)
        )

    def _source_names(self, asked: Sequence[str]) -> list[str]:
        known = self._serving.runtime.sources
        for name in asked:
            if name not in known:
                raise invalid(f"sources: expected some of {', '.join(sorted(known))}, found {name!r:.80}")
        return list(dict.fromkeys(asked)) or list(known)
