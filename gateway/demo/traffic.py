"""Simulated users behind client processes: they ask for banners over gRPC and track what they do with them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.ids import UNKNOWN
from data.schema import EVENT_SCHEMA
from data.simulator import Answerer, Marketplace
from data.simulator.answers import NO_ITEM
from data.simulator.behaviour import DEVICES
from gateway.client import GatewayClient
from gateway.demo.clients import in_processes
from gateway.errors import GatewayError, RefusalError
from proto.tandem.v1 import tandem_pb2 as pb

SHED_ATTEMPTS = 6
VIEWS_PER_CALL = 200
SHED_PAUSE = 0.02
"""Seconds before the second attempt; each further pause is twice as long."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Shift:
    """What one client process does.

    Attributes:
        opportunities: in their order of time. views: what its users view in the shop meanwhile, oldest first.
    """

    address: str
    simulator: Path
    opportunities: NDArray[np.int64]
    views: pa.Table = field(default_factory=EVENT_SCHEMA.empty_table)


@dataclass
class Shown:
    """What came back, one entry per opportunity that was answered.

    Attributes:
        slates: item positions, `slots` of each opportunity at most.
        latency_us: as the client saw it. server_us: the sum of the stage times the gateway told.
        tracked: events the gateway acknowledged as durable.
        shed: requests the gateway was too busy for at once; they were sent again.
        errors: one sentence per request that failed.
    """

    opportunities: list[int] = field(default_factory=list)
    display_ids: list[str] = field(default_factory=list)
    populations: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    slates: list[NDArray[np.int32]] = field(default_factory=list)
    degraded: list[bool] = field(default_factory=list)
    latency_us: list[int] = field(default_factory=list)
    server_us: list[int] = field(default_factory=list)
    tracked: int = 0
    shed: int = 0
    errors: list[str] = field(default_factory=list)

    def extend(self, other: "Shown") -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


def send_traffic(
    address: str,
    simulator: Path,
    opportunities: NDArray[np.int64],
    clients: int,
    advance: Callable[[int], None] = lambda by: None,
    days: tuple[float, float] | None = None,
) -> Shown:
    """Play the opportunities against a gateway from `clients` separate processes; each user stays with one of them.

    Args:
        opportunities: int64 [n], in order of time.
        advance: told how many more were answered.
        days: the time in which the shop also tracks what users view there; None: it tracks no views.

    Raises:
        GatewayError: a client process died.
    """
    marketplace = Marketplace.load(simulator)
    users = marketplace.opportunities.user[opportunities]
    views = marketplace.organic_events(*days) if days else EVENT_SCHEMA.empty_table()
    viewer = pc.index_in(views["user_id"], value_set=pa.array(marketplace.user_ids)).to_numpy() % clients
    shifts = [
        Shift(address, simulator, opportunities[users % clients == one], views.filter(pa.array(viewer == one)))
        for one in range(clients)
    ]
    everything = Shown()
    for shown in in_processes(_work, shifts, advance):
        everything.extend(shown)
    return everything


def banner_context(marketplace: Marketplace, opportunity: int) -> pb.Context:
    """What the publisher asks at an opportunity: the user's organic history goes with it."""
    at = marketplace.opportunities
    user, ts = int(at.user[opportunity]), int(at.ts[opportunity])
    history = marketplace.history(user, ts)
    item_ids = marketplace.item_ids
    return pb.Context(
        user_id=marketplace.user_ids[user],
        merchant_id=marketplace.merchant_ids[int(at.merchant[opportunity])],
        country=marketplace.config.countries[int(at.country[opportunity])],
        history=pb.History(
            item_ids=[item_ids[item] for item in history.items.tolist()],
            kinds=history.kinds.tolist(),
            ts_us=history.ts.tolist(),
        ),
        publisher=marketplace.config.publishers[int(at.publisher[opportunity])],
        device=DEVICES[int(at.device[opportunity])],
        ts_us=ts,
    )


def tracked_events(events: pa.Table) -> list[pb.TrackedEvent]:
    """A table of EVENT_SCHEMA as the messages of a Track request."""
    return [
        pb.TrackedEvent(
            event_id=row["event_id"],
            ts_us=ts,
            user_id=row["user_id"],
            kind=pb.EventKind.Value(row["kind"].upper()),
            item_id=row["item_id"],
            merchant_id=row["merchant_id"],
            country=row["country"],
            display_id=row["display_id"] or "",
            order_id=row["order_id"] or "",
            order_value=row["order_value"] or 0.0,
        )
        for row, ts in zip(events.to_pylist(), events["ts"].cast(pa.int64()).to_pylist(), strict=True)
    ]


def padded(slates: Sequence[NDArray[np.int32]], width: int) -> NDArray[np.int64]:
    """int64 [n, width], NO_ITEM where a slate is shorter."""
    table = np.full((len(slates), width), NO_ITEM, np.int64)
    for row, slate in enumerate(slates):
        table[row, : len(slate)] = slate
    return table


def _work(shift: Shift, advance: Callable[[int], None]) -> Shown:
    marketplace = Marketplace.load(shift.simulator)
    answerer, shown = Answerer(marketplace), Shown()
    views, tracked = tracked_events(shift.views), 0
    viewed_at = np.array([one.ts_us for one in views], np.int64)
    with GatewayClient(shift.address) as client:
        for opportunity in shift.opportunities.tolist():
            now = int(np.searchsorted(viewed_at, marketplace.opportunities.ts[opportunity]))
            if now - tracked >= VIEWS_PER_CALL:
                tracked = _track_views(client, views, tracked, now, shown)
            try:
                _play(client, marketplace, answerer, opportunity, shown)
            except GatewayError as error:
                shown.errors.append(f"opportunity {opportunity}: {error}")
            advance(1)
        _track_views(client, views, tracked, len(views), shown)
    return shown


def _track_views(client: GatewayClient, views: list[pb.TrackedEvent], first: int, end: int, shown: Shown) -> int:
    """Track views first .. end - 1; returns end."""
    for start in range(first, end, VIEWS_PER_CALL):
        part = views[start : min(start + VIEWS_PER_CALL, end)]
        shown.tracked += _unless_shed(partial(client.track, part), shown)
    return end


def _play(client: GatewayClient, marketplace: Marketplace, answerer: Answerer, opportunity: int, shown: Shown) -> None:
    """One opportunity: ask, look, and track what the user does."""
    context = banner_context(marketplace, opportunity)
    started = time.perf_counter_ns()
    slots = int(marketplace.opportunities.slots[opportunity])
    banner = _unless_shed(lambda: client.get_banner(context, slots), shown)
    latency = (time.perf_counter_ns() - started) // 1000
    slate = marketplace.item_positions([slot.item_id for slot in banner.slots])
    if (slate == UNKNOWN).any():
        raise GatewayError(f"display {banner.display_id} holds an item the marketplace does not sell")
    shown.opportunities.append(opportunity)
    shown.display_ids.append(banner.display_id)
    shown.populations.append(banner.population)
    shown.versions.append(banner.bundle_version)
    shown.slates.append(slate)
    shown.degraded.append(bool(banner.degraded))
    shown.latency_us.append(latency)
    shown.server_us.append(sum(stage.us for stage in banner.stage_times))
    events = answerer.answer([opportunity], slate[None, :], [banner.display_id]) if len(slate) else None
    if events is not None and len(events):
        messages = tracked_events(events)
        shown.tracked += _unless_shed(lambda: client.track(messages), shown)


def _unless_shed(call: Callable[[], _Answer], shown: Shown) -> _Answer:
    """The answer; a gateway that sheds load is asked again after a pause, as a well-behaved client does."""
    for attempt in range(SHED_ATTEMPTS):
        try:
            return call()
        except RefusalError as error:
            if error.status != "RESOURCE_EXHAUSTED" or attempt == SHED_ATTEMPTS - 1:
                raise
            shown.shed += 1
            time.sleep(SHED_PAUSE * 2**attempt)
    raise AssertionError("the last attempt answers or raises")
