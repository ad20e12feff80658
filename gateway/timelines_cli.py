"""`tandem timelines`: what is remembered of users, filled, shown and forgotten."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from data.console import JsonOption, console, table, write_figures
from data.eventlog.following import stop_signal
from data.schema import DAY_US, EVENT_KINDS
from gateway.metrics import lag_gauge
from gateway.serving_cli import ConfigOption, SetOption, WorkspaceOption, settings_of
from gateway.settings.gateway import GatewaySettings
from gateway.settings.reading import set_options
from gateway.timelines.filling import follower_of, import_events
from gateway.timelines.store import TimelineStore, now_us

app = typer.Typer(no_args_is_help=True)

UserArgument = Annotated[str, typer.Argument(help="User id.")]


def _opened(
    workspace: Path | None, config: Path | None, change: list[str] | None
) -> tuple[GatewaySettings, TimelineStore]:
    """The settings, with a store that may be written; the embedded one where they name none."""
    settings = settings_of(config, {"workspace": workspace, **set_options(change or [])})
    if not settings.timelines.on:
        settings = settings.changed(timelines=settings.timelines.changed(store="embedded"))
    return settings, settings.timelines.open(settings.workspace, writes=True)


@app.command("import")
def import_file(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Events (Parquet); by default the workspace's own.")
    ] = None,
    workspace: WorkspaceOption = None,
    config: ConfigOption = None,
    change: SetOption = None,
    json_path: JsonOption = None,
) -> None:
    """Remember imported events. What is there already, too old, or of users who were forgotten since, is left out."""
    settings, store = _opened(workspace, config, change)
    oldest = now_us() - round(settings.timelines.days * DAY_US)
    taken, old = import_events(store, file or settings.files.events, oldest)
    older = f"; {old:,} are older than {settings.timelines.days:g} days and left out (timelines.days)" if old else ""
    console.print(f"{taken:,} events read into timelines{older}", highlight=False)
    write_figures(json_path, {"taken": taken, "too_old": old})


@app.command()
def show(
    user: UserArgument,
    workspace: WorkspaceOption = None,
    config: ConfigOption = None,
    change: SetOption = None,
    json_path: JsonOption = None,
) -> None:
    """Show what is remembered of a user: events, oldest first, and items shown and clicked."""
    _, store = _opened(workspace, config, change)
    history, seen = store.history(user), store.seen(user, 0)
    events = table(f"{len(history.item_ids)} events of {escape(user)}", "when (UTC)", "kind", "item")
    rows = [
        (_moment(ts), EVENT_KINDS[kind], item)
        for item, kind, ts in zip(history.item_ids, history.kinds, history.ts_us, strict=True)
    ]
    for row in rows:
        events.add_row(*map(escape, row))
    items = table(f"{len(seen)} items shown or clicked", "item", "displays", "clicks", "last (UTC)")
    for item, one in sorted(seen.items(), key=lambda pair: (-pair[1].displays, pair[0])):
        items.add_row(escape(item), str(one.displays), str(one.clicks), _moment(one.last_us))
    console.print(events, items)
    shown = {item: one._asdict() for item, one in sorted(seen.items())}
    figures = [{"item_id": item, "kind": kind, "ts": ts} for ts, kind, item in rows]
    write_figures(json_path, {"user_id": user, "events": figures, "seen": shown})


@app.command()
def forget(
    user: UserArgument,
    workspace: WorkspaceOption = None,
    config: ConfigOption = None,
    change: SetOption = None,
    json_path: JsonOption = None,
) -> None:
    """Remove what is remembered of a user, for good: up to now nothing is taken again from logs or imports.

    The log itself and the workspace's events keep their rows.
    """
    settings, store = _opened(workspace, config, change)
    events, displays = store.forget(user)
    console.print(
        f"{user}: {events} events and {displays} displays forgotten; the log ({settings.log}) and "
        f"{settings.files.events} are as they were",
        markup=False,
        highlight=False,
    )
    write_figures(json_path, {"user_id": user, "events": events, "displays": displays})


@app.command()
def follow(
    workspace: WorkspaceOption = None,
    config: ConfigOption = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when nothing of the log is left.")] = False,
    change: SetOption = None,
) -> None:
    """Remember what the gateway logs, while it does; `tandem gateway serve` starts this by itself."""
    settings, store = _opened(workspace, config, change)
    follower = follower_of(store, settings.log)
    follower.run(stop_signal(), once, lag_gauge("timelines"))
    if once:
        console.print(f"{follower.rows:,} rows of the log read into timelines", highlight=False)


def _moment(ts_us: int) -> str:
    return datetime.fromtimestamp(ts_us / 1e6, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")
