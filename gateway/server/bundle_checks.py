"""Is a bundle whose digests are right what it should be? Asked by the first worker of a new one, before any listens."""

import numpy as np

from data.ids import StringTable
from data.items import ItemTable
from data.request import Request
from gateway.banner.assembly import assemble
from gateway.banner.runtime import Runtime
from gateway.errors import GatewayError

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
        try:
            banner = assemble(runtime, Request("", merchant, "", 0), list(runtime.sources), slots=1)
        except Exception as error:
            raise GatewayError(f"a banner of merchant {items.merchants.id(merchant)} fails: {error!r:.200}") from None
        if not banner.slots and not banner.degraded and items.available[items.slice_of(merchant)].any():
            raise GatewayError(f"a banner of merchant {items.merchants.id(merchant)} is empty, though it has items")
