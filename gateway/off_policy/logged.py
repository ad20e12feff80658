"""The log's banners that were drawn at random, as arrays: what stood where, with which chance, and what it earned."""

import re
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.attribution import DEFAULT, Attribution, clicked_slots
from data.eventlog import LoggedRows
from gateway.errors import GatewayError
from gateway.experiment import model
from gateway.experiment.window import Window, open_window
from gateway.off_policy.estimates import Floats, Users

METRICS = tuple(one.key for one in model.METRICS)
"""Keys: of a report's metrics."""

MOST_DISPLAYS = 50_000
"""The newest so many are taken, unless told: a policy is replayed banner by banner."""


class OffPolicyError(GatewayError):
    """A log, or a choice of what to evaluate, that no estimate can be made from."""


@dataclass(frozen=True)
class ExploredLog:
    """n banners of at most S places, drawn by policies with known chances.

    Attributes:
        displays: of n rows: user_id, merchant_id, country, publisher, device, ts, recent_items, policy, item_ids.
        propensity: float64 [n, S], of each item in its place given the places before it; 1 where no item stands.
        filled: float64 [n, S], 1 where an item stands.
        rewards: by metric, float64 [n, S].
        users: int64 [n], 0 to U - 1.
        among: int64 [n], of how many items the policy drew.
        left_out: banners of the log without exploration, or without the chance of each place.
    """

    displays: pa.Table
    propensity: Floats
    filled: Floats
    rewards: dict[str, Floats]
    users: Users
    among: Users
    left_out: int

    def first(self, places: int | None) -> "ExploredLog":
        """Of each banner the first `places` alone; None: all."""
        if places is None:
            return self
        rewards = {name: reward[:, :places] for name, reward in self.rewards.items()}
        cut = self.propensity[:, :places], self.filled[:, :places], rewards
        return ExploredLog(self.displays, *cut, self.users, self.among, self.left_out)


def explored_log(
    displays: LoggedRows | pa.Table,
    tracked: LoggedRows | pa.Table,
    experiment: str | None = None,
    population: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    attribution: Attribution = DEFAULT,
    most: int = MOST_DISPLAYS,
) -> ExploredLog:
    """Read a log's explored banners with what they earned.

    Args:
        displays, tracked: of DISPLAY_SCHEMA and EVENT_SCHEMA.
        experiment: None: the one with most displays. population: None: all.
        most: the newest so many displays.

    Raises:
        ReportError: no such experiment. OffPolicyError: no display was drawn at random.
    """
    window = open_window(displays, tracked, experiment, since, until, attribution)
    about = ("display_id", "user_id", "merchant_id", "country", "publisher", "device", "ts", "recent_items", "policy")
    counted = pc.sum(_only(window.users, population)["displays"]).as_py() or 0
    shown = window.displays(*about, "population", "degraded", "slots.item_id", "slots.propensity")
    shown = shown if population is None else shown.filter(shown["population"] == population)
    slots = shown["slots"]
    shown = shown.filter(shown["policy"].fill_null("") != "", shown["degraded"].length() == 0, slots.length() > 0)
    shown = shown.select(
        *about,
        item_ids=slots.map(lambda slot: slot["item_id"]),
        propensity=slots.map(lambda slot: slot["propensity"].fill_null(0.0)),
    )
    table = window.log.collect(shown.filter(shown["propensity"].mins() > 0))
    left_out = counted - len(table)
    table = table.sort_by([("ts", "descending"), ("display_id", "ascending")]).slice(0, most)
    if not len(table):
        raise OffPolicyError(
            f"experiment {window.experiment!r} has no banner that was drawn at random; "
            "expected a population with `rules: explore` (docs/guide/experiments.md)"
        )
    lengths = pc.list_value_length(table["item_ids"]).to_numpy()
    filled = (np.arange(lengths.max()) < lengths[:, None]).astype(np.float64)
    propensity = np.ones_like(filled)
    propensity[filled > 0] = table["propensity"].combine_chunks().flatten().to_numpy()
    users = np.unique(table["user_id"].to_numpy(), return_inverse=True)[1]
    among = np.array([_among(one) for one in table["policy"].to_pylist()])
    rewards = _rewards(window, table, filled)
    return ExploredLog(table.drop_columns("propensity"), propensity, filled, rewards, users, among, left_out)


def _only(users: pa.Table, population: str | None) -> pa.Table:
    return users if population is None else users.filter(pc.equal(users["population"], population))


def _among(policy: str) -> int:
    """Of how many items a policy drew: "softmax t=0.3 among=34"."""
    found = re.search(r"\bamong=(\d+)", policy)
    if found is None:
        raise OffPolicyError(f"policy {policy!r} of the log: expected one that says among how many items it drew")
    return int(found[1])


def _rewards(window: Window, table: pa.Table, filled: Floats) -> dict[str, Floats]:
    """By metric, float64 [n, S]: what each place earned."""
    slots = clicked_slots(window.clicks)
    landed = window.log.collect(slots.filter(slots["landed"]).select("display_id", "item_id"))
    sales = window.sales.select("display_id", "clicked_item_id", "order_value")
    sold = window.log.collect(sales)
    place_of: dict[tuple[str, str], tuple[int, int]] = {}
    for row, (display, items) in enumerate(
        zip(table["display_id"].to_pylist(), table["item_ids"].to_pylist(), strict=True)
    ):
        for place, item in enumerate(items):
            place_of[display, item] = row, place
    found = {name: np.zeros_like(filled) for name in METRICS}
    for key in zip(landed["display_id"].to_pylist(), landed["item_id"].to_pylist(), strict=True):
        if key in place_of:
            found["landed_clicks"][place_of[key]] += 1
    columns = (sold[name].to_pylist() for name in ("display_id", "clicked_item_id", "order_value"))
    for display, item, value in zip(*columns, strict=True):
        if (display, item) in place_of:
            found["sales"][place_of[display, item]] += 1
            found["order_value"][place_of[display, item]] += value
    return found
