"""Sets the bases of the true logits so that banners of popular items have the config's mean click and sale rates."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from data.errors import DataError
from data.simulator.behaviour import Behaviour
from data.simulator.browsing import draw_by_popularity
from data.simulator.opportunities import Opportunities
from data.simulator.randomness import generator

_REFERENCE_BANNERS = 4_000


def calibrated(behaviour: Behaviour, at: Opportunities) -> Behaviour:
    """The behaviour with the bases at which banners of items drawn by popularity, at the first opportunities, have the
    config's mean click and sale rates.

    Raises:
        DataError: a rate cannot be had.
    """
    config, offsets = behaviour.config, behaviour.items.merchant_offsets
    merchant = at.merchant[:_REFERENCE_BANNERS]
    first, slots = slice(0, len(merchant)), np.arange(max(config.slot_counts))
    draws = generator(config.seed, "reference banners").random((len(merchant), len(slots)))
    slates = draw_by_popularity(behaviour, offsets[merchant], offsets[merchant + 1], draws)
    shown = slots < at.slots[first, None]
    columns = [column[first, None] for column in (at.user, at.ts, at.publisher, at.device)]
    context = (columns[0], slates, slots, *columns[1:])

    def banner_click_rate(base: float) -> float:
        clicks = replace(behaviour, click_base=base).click(*context)
        return float(np.mean(1 - np.prod(1 - clicks * shown, axis=1)))

    with_clicks = replace(behaviour, click_base=_root(banner_click_rate, config.behaviour.banner_click_rate))
    chain = with_clicks.chain(*context)
    landed = chain.click * chain.landing * shown

    def sale_rate(base: float) -> float:
        return float(np.average(replace(with_clicks, sale_base=base).chain(*context).sale, weights=landed))

    return replace(with_clicks, sale_base=_root(sale_rate, config.behaviour.sale_rate))


def _root(rate: Callable[[float], float], target: float) -> float:
    """The base in [-20, 20] at which an increasing rate reaches its target, by bisection.

    Raises:
        DataError: the rate cannot be had there.
    """
    low, high = -20.0, 20.0
    if not rate(low) < target < rate(high):
        raise DataError(f"simulator config: a mean rate of {target} cannot be had; expected one nearer to the default")
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if rate(middle) < target else (low, middle)
    return (low + high) / 2
