"""`tandem gateway serve` and `web`: the processes that answer, told by gateway.yaml, the environment and options."""

import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from data.console import console
from gateway.log.json_lines import set_up
from gateway.settings.access import METHODS, Token
from gateway.settings.gateway import GatewaySettings
from gateway.settings.reading import as_environment, read_gateway_settings, set_options

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings (gateway.yaml), which the environment and options change.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Any field of the settings: limits.source_ms=30. Repeatable."),
]
WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", help="The folder of this experiment's files.", show_default="workspace"),
]
ShopOption = Annotated[bool | None, typer.Option("--shop", help="Over HTTP also an example shop, at /shop.")]
UiOption = Annotated[bool | None, typer.Option("--ui", help="Over HTTP also pages about banners and the report.")]


def add_commands(app: typer.Typer) -> None:
    """`serve`, `web` and `check`."""
    app.command()(serve)
    app.command()(web)
    app.command()(check)
    app.command(hidden=True)(metrics)


def serve(
    workspace: WorkspaceOption = None,
    config: ConfigOption = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Serve this bundle's folder; by default the workspace's current one.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; only this machine by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="50051")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer.", show_default="2")] = None,
    populations: Annotated[Path | None, typer.Option(help="Who is served from which sources (YAML).")] = None,
    exclude_kind: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude-kind", help="Never propose items that a request's history holds so: sale, what was bought."
        ),
    ] = None,
    replay: Annotated[bool | None, typer.Option("--replay", help="Take the times that requests name.")] = None,
    source_ms: Annotated[float | None, typer.Option(help="Deadline of one candidate source.")] = None,
    ranker_ms: Annotated[float | None, typer.Option(help="Deadline of the ranker.")] = None,
    total_ms: Annotated[float | None, typer.Option(help="From arrival to answer.")] = None,
    in_flight: Annotated[int | None, typer.Option(help="Requests at once per worker; one more is refused.")] = None,
    tier: Annotated[
        str | None, typer.Option(help="Serve one stage alone, for other gateways: candidates or ranker.")
    ] = None,
    timelines: Annotated[
        bool | None,
        typer.Option("--timelines", help="Remember what users do and see, for requests without a history."),
    ] = None,
    metrics: Annotated[int | None, typer.Option(help="Figures for Prometheus at /metrics, at this port.")] = None,
    http: Annotated[int | None, typer.Option(help="Also answer browsers over HTTP, at this port.")] = None,
    shop: ShopOption = None,
    ui: UiOption = None,
    log_format: Annotated[str | None, typer.Option(help="Of the operator's log: text or json.")] = None,
    change: SetOption = None,
) -> None:
    """Answer banner requests over gRPC until stopped (Ctrl-C drains).

    A newly published bundle and a changed populations file are taken up without a restart.
    """
    from gateway.access import TOKEN_VARIABLE
    from gateway.server.beside import Beside
    from gateway.server.start import run_gateway

    options = {
        "workspace": workspace,
        "bundle": bundle,
        "populations": populations,
        "host": host,
        "port": port,
        "workers": workers,
        "exclude_kinds": exclude_kind,
        "replay": replay,
        "limits.source_ms": source_ms,
        "limits.ranker_ms": ranker_ms,
        "limits.total_ms": total_ms,
        "limits.in_flight": in_flight,
        "tier": tier,
        "timelines.store": "embedded" if timelines else None,
        "metrics.port": metrics,
        "log_format": log_format,
        "http.port": http,
        "http.shop": shop,
        "http.ui": ui,
        **set_options(change or []),
    }
    settings, environment = settings_of(config, options), as_environment(options)
    if settings.tokens and settings.http is not None and settings.http.upstream.token_file is None:
        token = secrets.token_urlsafe(32)  # of the HTTP server beside the workers, for as long as this gateway runs
        own = Token(sha256=hashlib.sha256(token.encode()).hexdigest(), methods=(*METHODS, "preview"))
        settings = settings.changed(tokens={**settings.tokens, "the HTTP server": own})
        environment[TOKEN_VARIABLE] = token
    run_gateway(settings, Beside.of(settings, config, environment))


def metrics(config: ConfigOption = None) -> None:
    """Serve what a gateway counts: started by it."""
    from gateway.server.metrics_page import run_metrics

    run_metrics(settings_of(config, {}))


def check(workspace: WorkspaceOption = None, config: ConfigOption = None, change: SetOption = None) -> None:
    """Say whether a gateway with these settings would start: bundle, populations, ports, disk, tokens, certificates.

    Exit code 2, and a sentence for each part that is not as it should be.
    """
    from gateway.server.check import check_gateway

    found = check_gateway(settings_of(config, {"workspace": workspace, **set_options(change or [])}))
    for part, sentence in found.items():
        console.print(f"{part}: {sentence or 'as it should be'}", markup=False, soft_wrap=True)
    if any(found.values()):
        raise typer.Exit(2)


def settings_of(config: Path | None, options: Mapping[str, Any]) -> GatewaySettings:
    """What file, environment and options say; its log format is in force from now on."""
    settings = read_gateway_settings(config, options)
    set_up(settings.log_format)
    return settings


def web(
    workspace: WorkspaceOption = None,
    config: ConfigOption = None,
    gateway: Annotated[str | None, typer.Option(help="Where the gRPC gateway listens.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; only this machine by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any free one.")] = None,
    item_url: Annotated[str | None, typer.Option(help="The page of an item, with {item_id} in it.")] = None,
    shop: ShopOption = None,
    ui: UiOption = None,
    change: SetOption = None,
) -> None:
    """Answer browsers and shops over HTTP, in front of a running gateway: banners, clicks, events, JSON."""
    from gateway.settings.web import WebSettings
    from gateway.web.server import run_web

    given = {"gateway": gateway, "host": host, "port": port, "item_url": item_url, "shop": shop, "ui": ui}
    options: dict[str, Any] = {"workspace": workspace, **{f"http.{name}": value for name, value in given.items()}}
    settings = settings_of(config, {**options, **set_options(change or [])})
    section = settings.http or WebSettings()
    run_web(
        section if section.gateway else section.changed(gateway=settings.address), settings.files, settings.populations
    )
