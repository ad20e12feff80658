"""`tandem logs`: the gateway's log, sent on."""

from typing import Annotated

import typer

from data.console import console
from data.eventlog.following import stop_signal
from gateway.errors import GatewayError
from gateway.serving_cli import ConfigOption, SetOption, WorkspaceOption
from gateway.settings.reading import read_gateway_settings, set_options
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
    settings = read_gateway_settings(config, {"workspace": workspace, **set_options(change or [])})
    if not settings.kafka.on:
        raise GatewayError("kafka.brokers: expected where Kafka is, as in --set kafka.brokers='[kafka.example:9092]'")
    follower = kafka_follower(settings.kafka, settings.log)
    follower.run(stop_signal(), once)
    if once:
        console.print(f"{follower.rows:,} rows of the log sent", highlight=False)
