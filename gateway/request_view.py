"""One banner request from the terminal: who asks (taken from the workspace where it is not told), and the answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.tables import load_events
from data.workspace import Workspace
from gateway.client import history_of
from gateway.errors import GatewayError
from proto.tandem.v1 import tandem_pb2 as pb

_SOURCE_COLOURS = {"gbo": "cyan", "cbo": "yellow", "led": "green"}
_LEAST_EVENTS = 5
"""A user picked for a newcomer should have a history worth recommending from."""


@dataclass(frozen=True)
class Asker:
    """Who the banner is for. `told` says in words what was taken from the workspace."""

    user_id: str
    merchant_id: str
    country: str
    history: pb.History
    told: str


def asker_of(
    workspace: Workspace, user: str | None, merchant: str | None, country: str | None, history: Sequence[str] | None
) -> Asker:
    """Fill in what the caller left open from the workspace's events.

    Raises:
        GatewayError: something is open and the workspace has no events to take it from.
    """
    complete = user is not None and merchant is not None and history is not None
    if complete or not workspace.events.exists():
        if user is None or merchant is None:
            raise GatewayError(f"{workspace.root} holds no events to choose from: expected --user and --merchant")
        return Asker(user, merchant, country or "", history_of(history or []), "")
    events = load_events(workspace)
    told = ""
    if user is None:
        user = _busy_user(events)
        told = f"user {user} was picked from the workspace. "
    own = events.filter(pc.equal(events["user_id"], user)).sort_by("ts")
    if len(own):
        told += f"{user}'s {len(own)} events in the workspace are the history. " if history is None else ""
    elif history is None:
        told += f"{user} is not in the workspace: no history. "
    if merchant is None:
        merchant = str((own if len(own) else events)["merchant_id"][-1])
        told += (
            f"Merchant {merchant} is the one they visited last. " if len(own) else f"Merchant {merchant} was picked. "
        )
    if country is None:
        country = str(own["country"][-1]) if len(own) else ""
    if history is not None:
        return Asker(user, merchant, country, history_of(history), told)
    kinds = [pb.EventKind.Value(kind.upper()) for kind in own["kind"].to_pylist()]
    times = own["ts"].cast(pa.int64()).to_pylist()
    return Asker(user, merchant, country, history_of(own["item_id"].to_pylist(), kinds, times), told)


def print_banner(response: pb.GetBannerResponse, asker: Asker, console: Console) -> None:
    """The answer for a person: slots, sources in words and colours, scores, stage times, marks."""
    if asker.told:
        console.print(f"[dim]{escape(asker.told.strip())}[/]", soft_wrap=True)
    if response.simulated:
        console.print("[bold black on yellow] SIMULATED [/] users, items and prices are simulated")
    title = f"Banner of {asker.merchant_id} for {asker.user_id}"
    table = Table(title=escape(title), title_justify="left", title_style="bold", header_style="bold")
    table.add_column("slot", justify="right")
    for name in ("item", "title", "category"):
        table.add_column(name, overflow="fold")
    for name in ("price", "score"):
        table.add_column(name, justify="right")
    table.add_column("proposed by")
    for slot in response.slots:
        price = f"{slot.price:,.2f}" if slot.price == slot.price else "unknown"
        badges = " ".join(f"[{_SOURCE_COLOURS.get(name, 'magenta')}]{escape(name)}[/]" for name in slot.sources)
        texts = (escape(text) for text in (slot.item_id, slot.title, slot.category))
        table.add_row(str(slot.position + 1), *texts, price, f"{slot.score:.4f}", badges)
    console.print(table)
    if not response.slots:
        console.print("no slot could be filled: no source knows an available item of this merchant")
    total = sum(one.us for one in response.stage_times)
    stages = " + ".join(f"{one.stage} {one.us / 1000:.2f}" for one in response.stage_times)
    console.print(f"[bold]{total / 1000:.2f} ms[/] in the gateway = {stages}", soft_wrap=True)
    console.print(
        f"population [bold]{escape(response.population)}[/] of {escape(response.experiment)}"
        f" ({escape(response.config_hash)}), bundle {escape(response.bundle_version)}, "
        + (f"display {escape(response.display_id)}" if response.display_id else "a preview, not logged"),
        soft_wrap=True,
    )
    console.print(order_of(response.ranker_share))
    if response.degraded:
        console.print(f"[bold red]degraded:[/] {escape('; '.join(response.degraded))}")


def order_of(ranker_share: float) -> str:
    if ranker_share == 0:
        return "in the sources' own order"
    return "ordered by the ranker" if ranker_share == 1 else f"ordered by sources and ranker, {ranker_share:.0%} its"


def _busy_user(events: pa.Table) -> str:
    """The newest user with a fair number of events."""
    if not len(events):
        raise GatewayError("the workspace's events are empty: expected --user and --merchant")
    counts = events.group_by("user_id").aggregate([("ts", "count"), ("ts", "max")])
    busy = counts.filter(pc.greater_equal(counts["ts_count"], _LEAST_EVENTS))
    newest = (busy if len(busy) else counts).sort_by([("ts_max", "descending"), ("user_id", "ascending")])
    return str(newest["user_id"][0])
