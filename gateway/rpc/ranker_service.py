"""`RankerService`: the scores of given items."""

from typing import TYPE_CHECKING

import grpc
import numpy as np
from numpy.typing import NDArray

from data.ids import UNKNOWN
from data.items import ItemTable
from gateway.banner.assembly import ranking_stages
from gateway.banner.ranking import RANKER, Ranking
from gateway.banner.stages import Progress, clock_us, start
from gateway.errors import RefusalError
from gateway.rpc.decoding import ranked_positions
from gateway.rpc.refusals import unavailable
from gateway.rpc.serving import Serving
from gateway.wire import Reason
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc

if TYPE_CHECKING:
    from ranker.banner.scorer import BannerFeatures


class RankerService(rpc.RankerServiceServicer):
    """Stage two alone."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def Rank(self, message: pb.RankRequest, context: grpc.aio.ServicerContext) -> pb.RankResponse:
        arrived, serving = clock_us(), self._serving
        runtime = serving.runtime
        if runtime.scorer is None:
            raise RefusalError("FAILED_PRECONDITION", f"bundle {runtime.version} has no ranker", Reason.NO_RANKER)
        request = serving.request_of(message.context, user_required=False)
        positions = ranked_positions(message.item_ids, request.merchant, runtime.items)
        known = np.unique(positions[positions != UNKNOWN])
        asked = Ranking(request=request, items=known)

        def encode(done: Progress[Ranking]) -> pb.RankResponse:
            scores, given = np.full(len(positions), np.nan, np.float32), done.state.scores
            if given is not None:
                there = positions != UNKNOWN
                scores[there] = given[np.searchsorted(known, positions[there])]
            elif len(known):
                raise unavailable(RANKER, done.left_out, Reason.RANKER_LATE, Reason.RANKER_FAILED)
            response = pb.RankResponse(bundle_version=runtime.version, scores=scores.tolist())
            if message.features and done.state.features is not None:
                _add_features(response, done.state.features, known, positions, runtime.items)
            return response

        progress = start(asked, ranking_stages(runtime, serving.limits), arrived)
        return await serving.runner.run(progress, serving.watched(encode), serving.ends(context))


def _add_features(
    response: pb.RankResponse,
    features: "BannerFeatures",
    known: NDArray[np.int32],
    positions: NDArray[np.int32],
    items: ItemTable,
) -> None:
    """What the ranker saw of the items at `positions`; `known`: those that it has rows of, ascending."""
    there, dense = positions != UNKNOWN, np.full((len(positions), features.dense.shape[1]), np.nan, np.float32)
    dense[there] = features.dense[np.searchsorted(known, positions[there])]
    response.dense_names.extend(features.dense_names)
    response.dense.extend(dense.ravel().tolist())
    response.recent_item_ids.extend(items.items.ids_at(features.recent_items))
