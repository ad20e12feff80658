"""Seasons, and users who come and go: `LifeConfig`, of which nothing is on by default."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.schema import DAY_US
from data.simulator.config import MarketplaceConfig
from data.simulator.randomness import stream_key, uniforms

_GOLDEN = 0.6180339887498949
"""Leaves have their seasons at times as far from one another as can be."""


def season(config: MarketplaceConfig, leaves: NDArray[np.integer], ts: ArrayLike) -> NDArray[np.float64] | float:
    """The demand of leaves at a time, mean 1: 1 + A sin(2 pi (day / season_days + a phase of the leaf)).

    `leaves` and `ts` (UTC microseconds) broadcast. 1 where there are no seasons.
    """
    life = config.life
    if not life.seasons:
        return 1.0
    day = (np.asarray(ts) - config.start_us) / DAY_US
    return 1 + life.seasons * np.sin(2 * np.pi * (day / life.season_days + leaves * _GOLDEN % 1.0))


def is_there(
    config: MarketplaceConfig, users: NDArray[np.integer], arrival: NDArray[np.float64], day: NDArray[np.float64]
) -> NDArray[np.bool_] | slice:
    """Who is there on a day, of users who come and go; everybody where nobody does.

    A user's spells last as long each, and so do their pauses: exponential draws of the user, whose first spell begins
    with the arrival (a random part of it has passed for users who were there on day 0).

    Args:
        arrival: float64 [n], the users' own. day: float64 [n].
    """
    life = config.life
    if not (life.returning or life.churning):
        return slice(None)
    draws = [uniforms(stream_key(config.seed, f"life: {what}"), users) for what in ("kind", "spell", "pause", "passed")]
    spell, pause = -life.spell_days * np.log(draws[1]), -life.pause_days * np.log(draws[2])
    since = day - arrival + np.where(arrival > 0, 0.0, draws[3] * spell)
    comes_back = since % (spell + pause) < spell
    leaves = since < spell
    stays = draws[0] >= life.returning + life.churning
    return stays | np.where(draws[0] < life.returning, comes_back, leaves)
