"""`tandem logs`: the gateway's log, sent on and checked."""

import dataclasses
from typing import Annotated

import typer
from rich.markup import escape

from data.console import DEFAULT_WORKSPACE, JsonOption, console, table, write_figures
from data.console import WorkspaceOption as PlainWorkspaceOption
from data.eventlog.following import stop_signal
from data.workspace import Workspace
from gateway.errors import GatewayError
from gateway.metrics import lag_gauge
from gateway.serving_cli import ConfigOption, SetOption, WorkspaceOption, settings_of
from gateway.settings.reading import set_options
from gateway.sinks.kafka import kafka_follower

app = typer.Typer(no_args_is_help=True)


@app.command()
def send(
    workspace: WorkspaceOption = None,
    config: ConfigOption = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when nothing of the log is left.")] = False,
    change: SetOption = None,
) -> None:
    """Send displays and tracked events to Kafka, at least once; `tandem gateway serve` starts this by itself.

    Where it stands is kept beside the log (cursors/kafka.json).
    """
    settings = settings_of(config, {"workspace": workspace, **set_options(change or [])})
    if not settings.kafka.on:
        raise GatewayError("kafka.brokers: expected where Kafka is, as in --set kafka.brokers='[kafka.example:9092]'")
    follower = kafka_follower(settings.kafka, settings.log)
    follower.run(stop_signal(), once, lag_gauge("kafka"))
    if once:
        console.print(f"{follower.rows:,} rows of the log sent", highlight=False)


@app.command()
def check(workspace: PlainWorkspaceOption = DEFAULT_WORKSPACE, json_path: JsonOption = None) -> None:
    """Read the whole log, every checksum of it: is anything missing, doubled or damaged? Changes nothing.

    Exit code 2 if so. A gateway may write meanwhile.
    """
    from data.eventlog.checking import check_log

    folder = Workspace(workspace).log
    found = check_log(folder)
    lines = {
        "displays": found.displays,
        **{f"events: {kind}": count for kind, count in found.events.items()},
        "events sent more than once (counted once)": found.sent_twice,
        "clicks and landings on displays that are not in the log": found.unshown,
        "records of kinds that this version does not know": found.unknown,
        "files being written or waiting": sum(file.state == "wal" for file in found.files),
        "files compacted": sum(file.state == "segments" for file in found.files),
        "files removed by retention": found.removed,
        "bytes of records cut short by a crash": sum(file.torn for file in found.files),
        **{f"rows that {name} has yet to take": rows for name, rows in found.behind.items()},
    }
    shown = table(f"{escape(str(folder))}", "", "")
    for name, count in lines.items():
        shown.add_row(name, f"{count:,}")
    console.print(shown)
    for fault in found.faults:
        console.print(fault, style="red", markup=False, soft_wrap=True)
    write_figures(json_path, {**dataclasses.asdict(found), "sound": not found.faults})
    if found.faults:
        raise GatewayError(
            f"{folder}: {len(found.faults)} faults found; expected a log without a gap, a double or damage"
        )
    console.print("nothing is missing, nothing doubled, nothing damaged")
