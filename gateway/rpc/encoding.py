"""Answers to the outside: what the stages gave, as responses."""

import struct

import numpy as np

from candidates.explanation import Reasons
from data.items import ItemTable
from gateway.banner.filling import Filling
from gateway.banner.item_bytes import POSITIONS, sources_bytes, stage_time
from gateway.banner.proposing import Proposing
from gateway.banner.runtime import Runtime
from gateway.banner.similar import SIMILAR, Comparing
from gateway.banner.stages import Progress, StateT
from gateway.experiment.populations import Assignment
from gateway.message_bytes import FIXED_32, bytes_field, float_field, number_field, tag, text_field, varint
from gateway.rpc.refusals import unavailable
from gateway.wire import Reason
from proto.tandem.v1 import tandem_pb2 as pb


def known_beforehand(assigned: Assignment, runtime: Runtime) -> bytes:
    """What a banner's response holds whoever asks: of experiment, population and bundle."""
    experiment = assigned.experiment
    texts = {2: experiment.name, 3: assigned.population.name, 4: runtime.version, 9: experiment.config_hash}
    return b"".join(text_field(*one) for one in texts.items()) + number_field(8, runtime.simulated)


def banner_response(runtime: Runtime, known: bytes, done: Progress[Filling]) -> bytes:
    """A banner whose stages have run, as a serialised `GetBannerResponse`. The time to encode it counts as the last
    stage's.

    Args:
        known: `known_beforehand`.
    """
    shown = runtime.item_bytes.shown
    parts = [text_field(1, done.state.display_id), known]
    propensities = done.state.propensities
    for place, slot in enumerate(done.state.slots):
        sources, score = sources_bytes(7, slot.sources), _SCORE.pack(slot.score)
        content = b"".join((POSITIONS[slot.position], shown(slot.item), sources, _SCORE_TAG, score))
        if propensities:
            content += float_field(10, propensities[place])
        parts += (_SLOT, varint(len(content)), content)
    parts += (bytes_field(11, note.encode()) for note in done.state.rules)
    parts += (bytes_field(6, mark.encode()) for mark in done.degraded)
    if done.state.scores is not None and runtime.ranker_share:
        parts.append(float_field(10, runtime.ranker_share))
    stage_us = done.lap(done.laps[-1][0]).stage_us
    parts += [stage_time(7, stage, us) for stage, us in stage_us.items()]
    return b"".join(parts)


_SLOT, _SCORE_TAG, _SCORE = tag(5), tag(8, FIXED_32), struct.Struct("<f")


def candidates_response(runtime: Runtime, done: Progress[Proposing]) -> pb.GetCandidatesResponse:
    """What the sources proposed, in the order in which they were asked."""
    ids_at, asked = runtime.items.items.ids_at, done.state
    response = pb.GetCandidatesResponse(
        bundle_version=runtime.version,
        display_id=asked.display_id,
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
        display_id=done.state.display_id,
        item_ids=runtime.items.items.ids_at(found.items),
        scores=found.scores.tolist(),
        basis=found.basis,
    )
    _add_stage_times(response, done, "fill")
    return response


_Timed = pb.GetCandidatesResponse | pb.GetSimilarItemsResponse


def _add_stage_times(response: _Timed, done: Progress[StateT], last: str) -> None:
    """The time until now is counted as `last`'s."""
    stage_us = done.lap(last).stage_us
    response.stage_times.extend([pb.StageTime(stage=stage, us=us) for stage, us in stage_us.items()])


def _explanation(reasons: Reasons, items: ItemTable) -> pb.Explanation:
    history = zip(items.items.ids_at(np.array(reasons.history, np.int32)), reasons.contributions, strict=True)
    return pb.Explanation(
        bias=reasons.bias,
        history=[pb.Contribution(item_id=item, contribution=value) for item, value in history],
        others=reasons.others,
        known=reasons.known,
    )
