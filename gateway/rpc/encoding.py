"""Answers to the outside: a banner as a response, and as the record that the log keeps of it."""

from typing import Any

import numpy as np

from candidates.explanation import ExplainingSource
from candidates.proposals import Proposal
from data.items import ItemTable
from data.request import Request
from gateway.banner.assembly import Banner
from gateway.banner.runtime import Runtime
from gateway.experiment.populations import Experiment
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1.log_pb2 import DisplayRecord, LoggedSlot


def banner_response(
    runtime: Runtime, banner: Banner, experiment: Experiment, population: str, display_id: str
) -> pb.GetBannerResponse:
    """The response, but for the stage times, which `add_stage_times` completes."""
    items = runtime.items
    return pb.GetBannerResponse(
        display_id=display_id,
        experiment=experiment.name,
        population=population,
        config_hash=experiment.config_hash,
        bundle_version=runtime.version,
        degraded=banner.degraded,
        simulated=runtime.simulated,
        slots=[
            pb.Slot(
                position=slot.position,
                item_id=items.items.id(slot.item),
                title=items.titles[slot.item],
                image_url=items.image_urls[slot.item],
                category=items.categories.id(int(items.category[slot.item])),
                price=float(items.price[slot.item]),
                sources=slot.sources,
                score=slot.score,
            )
            for slot in banner.slots
        ],
    )


def explanations(runtime: Runtime, name: str, request: Request, proposal: Proposal, count: int) -> list[pb.Explanation]:
    """Why a source scored each of its proposals as it did, `count` history items by name; none if it cannot say."""
    source = runtime.sources[name]
    if not isinstance(source, ExplainingSource):
        return []
    found, ids_at = source.explain(request, proposal.items), runtime.items.items.ids_at
    answers = []
    for place in range(len(proposal)):
        reasons = found.reasons(place, count)
        named = zip(ids_at(np.array(reasons.history, np.int32)), reasons.contributions, strict=True)
        answers.append(
            pb.Explanation(
                bias=reasons.bias,
                history=[pb.Contribution(item_id=item, contribution=value) for item, value in named],
                others=reasons.others,
                known=reasons.known,
            )
        )
    return answers


def add_stage_times(response: Any, stage_us: dict[str, int]) -> None:
    response.stage_times.extend([pb.StageTime(stage=stage, us=us) for stage, us in stage_us.items()])


def display_record(
    request: Request, merchant_id: str, response: pb.GetBannerResponse, banner: Banner, items: ItemTable
) -> DisplayRecord:
    """What the log keeps: who was shown what, why, with the features that the ranker saw."""
    features = banner.features
    dense = np.asarray(features.dense)[banner.shown].tolist() if features is not None else [()] * len(banner.slots)
    recent_items = features.recent_items if features is not None else ()
    recent_categories = features.recent_categories if features is not None else ()
    return DisplayRecord(
        display_id=response.display_id,
        ts_us=request.ts,
        user_id=request.user_id,
        merchant_id=merchant_id,
        country=request.country,
        publisher=request.publisher,
        device=request.device,
        experiment=response.experiment,
        population=response.population,
        config_hash=response.config_hash,
        bundle_version=response.bundle_version,
        degraded=response.degraded,
        recent_items=[items.items.id(int(one)) for one in recent_items if one >= 0],
        recent_categories=[items.categories.id(int(one)) for one in recent_categories if one >= 0],
        dense_names=banner.dense_names,
        stage_times=[pb.StageTime(stage=stage, us=us) for stage, us in banner.stage_us.items()],
        slots=[
            LoggedSlot(
                position=slot.position,
                item_id=slot.item_id,
                category=slot.category,
                sources=slot.sources,
                score=slot.score,
                dense=values,
            )
            for slot, values in zip(response.slots, dense, strict=True)
        ],
    )
