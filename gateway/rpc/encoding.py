"""Answers to the outside: what the stages gave, as responses."""

import numpy as np

from candidates.explanation import Reasons
from data.items import ItemTable
from gateway.banner.filling import Filling, Slot
from gateway.banner.proposing import Proposing
from gateway.banner.runtime import Runtime
from gateway.banner.similar import SIMILAR, Comparing
from gateway.banner.stages import Progress, StateT
from gateway.experiment.populations import Assignment
from gateway.rpc.refusals import unavailable
from gateway.wire import Reason
from proto.tandem.v1 import tandem_pb2 as pb


def banner_response(assigned: Assignment, runtime: Runtime, done: Progress[Filling]) -> pb.GetBannerResponse:
    """A banner whose stages have run. The time to encode it counts as the last stage's."""
    items, banner = runtime.items, done.state
    response = pb.GetBannerResponse(
        display_id=banner.display_id,
        experiment=assigned.experiment.name,
        population=assigned.population.name,
        config_hash=assigned.experiment.config_hash,
        bundle_version=runtime.version,
        degraded=done.degraded,
        simulated=runtime.simulated,
        slots=[_slot(slot, items) for slot in banner.slots],
        ranker_share=0.0 if banner.scores is None else runtime.ranker_share,
    )
    _add_stage_times(response, done, done.laps[-1][0])
    return response


def candidates_response(runtime: Runtime, done: Progress[Proposing]) -> pb.GetCandidatesResponse:
    """What the sources proposed, in the order in which they were asked."""
    ids_at, asked = runtime.items.items.ids_at, done.state
    response = pb.GetCandidatesResponse(
        bundle_version=runtime.version,
        degraded=done.degraded,
        sources=[
            pb.SourceCandidates(
                source=name,
                item_ids=ids_at(proposal.items),
                scores=proposal.scores.tolist(),
                explanations=[_explanation(one, runtime.items) for one in asked.reasons.get(name, ())],
            )
            for name, proposal in asked.proposals.items()
        ],
    )
    _add_stage_times(response, done, "fill")
    return response


def similar_response(runtime: Runtime, done: Progress[Comparing]) -> pb.GetSimilarItemsResponse:
    """The items like one. Raises RefusalError (UNAVAILABLE) if they were not found in time."""
    found = done.state.found
    if found is None:
        raise unavailable(SIMILAR, done.left_out, Reason.SIMILAR_LATE, Reason.SIMILAR_FAILED)
    response = pb.GetSimilarItemsResponse(
        bundle_version=runtime.version,
        item_ids=runtime.items.items.ids_at(found.items),
        scores=found.scores.tolist(),
        basis=found.basis,
    )
    _add_stage_times(response, done, "fill")
    return response


_Timed = pb.GetBannerResponse | pb.GetCandidatesResponse | pb.GetSimilarItemsResponse


def _add_stage_times(response: _Timed, done: Progress[StateT], last: str) -> None:
    """The time until now is counted as `last`'s."""
    stage_us = done.lap(last).stage_us
    response.stage_times.extend([pb.StageTime(stage=stage, us=us) for stage, us in stage_us.items()])


def _slot(slot: Slot, items: ItemTable) -> pb.Slot:
    return pb.Slot(
        position=slot.position,
        item_id=slot.item_id,
        title=items.titles[slot.item],
        image_url=items.image_urls[slot.item],
        category=slot.category,
        price=float(items.price[slot.item]),
        sources=slot.sources,
        score=slot.score,
    )


def _explanation(reasons: Reasons, items: ItemTable) -> pb.Explanation:
    history = zip(items.items.ids_at(np.array(reasons.history, np.int32)), reasons.contributions, strict=True)
    return pb.Explanation(
        bias=reasons.bias,
        history=[pb.Contribution(item_id=item, contribution=value) for item, value in history],
        others=reasons.others,
        known=reasons.known,
    )
