"""A request in positions becomes a message again, which a gateway of the same bundle reads as the same request."""

import numpy as np
from numpy.typing import NDArray

from data.request import Allowed, Request
from data.schema import EVENT_KINDS
from gateway.banner.runtime import Runtime
from gateway.wire import EXCLUDE_LENGTH
from proto.tandem.v1 import tandem_pb2 as pb


def context_of(request: Request, runtime: Runtime) -> pb.Context:
    """Its time included, so that whoever is asked must take times (`--replay`), as tiers do.

    What rules keep from a filter's items goes among the exclusions, as far as a request may have so many.
    """
    items, history, allowed = runtime.items, request.history, request.allowed
    context = pb.Context(
        user_id=request.user_id,
        merchant_id=items.merchants.id(request.merchant),
        country=request.country,
        publisher=request.publisher,
        device=request.device,
        ts_us=request.ts,
    )
    if len(history):
        context.history.item_ids.extend(items.items.ids_at(history.items))
        context.history.kinds.extend([kind or len(EVENT_KINDS) for kind in history.kinds.tolist()])
        context.history.ts_us.extend(history.ts.tolist())
    exclude = request.exclude
    if allowed is not None:
        exclude = np.union1d(exclude, _kept_back(allowed, request.merchant, runtime))[:EXCLUDE_LENGTH]
    if len(exclude):
        context.exclude_item_ids.extend(items.items.ids_at(exclude))
    if allowed is not None and allowed.asked:
        context.filter.categories.extend(allowed.asked.categories)
        if allowed.asked.min_price is not None:
            context.filter.min_price = allowed.asked.min_price
        if allowed.asked.max_price is not None:
            context.filter.max_price = allowed.asked.max_price
    return context


def _kept_back(allowed: Allowed, merchant: int, runtime: Runtime) -> NDArray[np.int32]:
    """int32, positions: what passes the filter that was asked for, and yet is not allowed."""
    passing = runtime.filters.allowed(merchant, allowed.asked)
    mask = runtime.items.available[runtime.items.slice_of(merchant)] if passing is None else passing.mask
    return (np.flatnonzero(mask & ~allowed.mask) + allowed.start).astype(np.int32)
