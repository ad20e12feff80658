"""Is a bundle whose digests are right what it should be? Asked by the first worker of a new one, before any listens."""

import logging
import math
from pathlib import Path

import numpy as np

from data.bundle import Bundle, lost_in
from data.errors import DataError
from data.eventlog.tables import tables_of
from data.ids import StringTable
from data.items import ItemTable
from data.request import Request
from gateway.banner.assembly import banner_stages
from gateway.banner.filling import Filling
from gateway.banner.runtime import Runtime
from gateway.banner.stages import Progress, run, start
from gateway.errors import GatewayError
from gateway.log.displays import display_record

logger = logging.getLogger(__name__)

_SLOTS, _PER_SOURCE = 6, 20
_MERCHANTS = 200
"""So many merchants, the largest, are each shown a banner."""


def check_runtime(runtime: Runtime) -> None:
    """Look at the whole item table, and at a banner of each merchant as clients would receive it.

    Raises:
        GatewayError: names what is wrong.
    """
    try:
        _check_items(runtime.items)
        _check_banners(runtime)
    except GatewayError as error:
        raise GatewayError(f"bundle {runtime.version}: {error}") from None


def _check_items(items: ItemTable) -> None:
    names = {"items": items.items.strings, "merchants": items.merchants.strings, "categories": items.categories.strings}
    for name, strings in {**names, "titles": items.titles, "image_urls": items.image_urls}.items():
        _check_strings(name, strings)
    for name, values, ids in (
        ("category", items.category, items.categories),
        ("merchant", items.merchant, items.merchants),
    ):
        if len(values) != len(items) or (len(values) and not 0 <= values.min() <= values.max() < len(ids)):
            raise GatewayError(f"catalog/{name}.npy: expected {len(items)} positions from 0 to {len(ids) - 1}")
    if np.isinf(items.price).any():
        item = items.items.id(int(np.flatnonzero(np.isinf(items.price))[0]))
        raise GatewayError(f"catalog/price.npy: the price of item {item} is infinite; expected a number, or none")


def _check_strings(name: str, strings: StringTable) -> None:
    try:
        bytes(strings.text).decode()
    except UnicodeDecodeError as error:
        raise GatewayError(f"catalog/{name}.text.npy: expected UTF-8, found {error.reason}") from None
    if (strings.offsets[1:] < strings.offsets[:-1]).any() or strings.offsets[-1] > len(strings.text):
        raise GatewayError(f"catalog/{name}.offsets.npy: expected ascending places in the text")


def _check_banners(runtime: Runtime) -> None:
    """That every merchant with something to sell gets a banner which a client can read, or one marked as degraded."""
    items = runtime.items
    sizes = np.diff(items.merchant_offsets)
    for merchant in np.argsort(-sizes, kind="stable")[:_MERCHANTS].tolist():
        asked = Filling(request=Request("", merchant, "", 0), per_source=_PER_SOURCE, slot_count=_SLOTS)
        try:
            done = run(start(asked, banner_stages(runtime, list(runtime.sources))))
            _check_answer(runtime, done)
        except Exception as error:
            raise GatewayError(f"a banner of merchant {items.merchants.id(merchant)} fails: {error!r:.200}") from None
        if not done.state.slots and not done.degraded and items.available[items.slice_of(merchant)].any():
            raise GatewayError(f"a banner of merchant {items.merchants.id(merchant)} is empty, though it has items")


def _check_answer(runtime: Runtime, done: Progress[Filling]) -> None:
    """That clients can read the banner's response, and the log its record. Raises what goes wrong."""
    from gateway.rpc.encoding import banner_response
    from proto.tandem.v1.tandem_pb2 import GetBannerResponse

    ids = [runtime.items.items.id(slot.item) for slot in done.state.slots]
    response = GetBannerResponse.FromString(banner_response(runtime, b"", done))
    if [slot.item_id for slot in response.slots] != ids or not all(math.isfinite(one.score) for one in response.slots):
        raise ValueError(f"its response is not what it shows: {ids}")
    if done.state.slots:
        rows = tables_of([display_record("", done, runtime, b"")]).displays.to_pylist()
        if [slot["item_id"] for row in rows for slot in row["slots"]] != ids:
            raise ValueError(f"its record in the log is not what it shows: {ids}")


def say_what_is_lost(bundle: Path, instead_of: Path | None) -> None:
    """A line about what a bundle lacks that the one in service has: whoever published it was asked, or was not."""
    if instead_of is None:
        return
    try:
        lost = lost_in(Bundle.open(instead_of, verify=False), Bundle.open(bundle, verify=False))
    except DataError:  # the old one cannot be read: there is nothing to compare with
        return
    if lost:
        logger.warning("bundle %s is without what %s has: %s", bundle.name, instead_of.name, ", ".join(lost))
