"""The sub-commands of `tandem gateway`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, write_figures
from data.schema import EVENT_KINDS
from data.workspace import Workspace
from gateway.errors import GatewayError

app = typer.Typer(no_args_is_help=True)

DEFAULT_ADDRESS = "127.0.0.1:50051"


@app.command()
def serve(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    bundle: Annotated[
        Path | None, typer.Option(help="Serve this bundle's folder; by default the workspace's current one.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; only this machine by default.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 50051,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that answer.")] = 2,
    populations: Annotated[Path | None, typer.Option(help="Who is served from which sources (YAML).")] = None,
    exclude_kind: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude-kind", help="Never propose items that a request's history holds so: sale, what was bought."
        ),
    ] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Take the times that requests name.")] = False,
    source_ms: Annotated[float, typer.Option(min=0.1, help="Deadline of one candidate source.")] = 20.0,
    ranker_ms: Annotated[float, typer.Option(min=0.1, help="Deadline of the ranker.")] = 20.0,
    total_ms: Annotated[float, typer.Option(min=1, help="From arrival to answer.")] = 100.0,
    in_flight: Annotated[int, typer.Option(min=1, help="Requests at once per worker; one more is refused.")] = 32,
    http: Annotated[int | None, typer.Option(min=1, max=65535, help="Also answer browsers over HTTP, there.")] = None,
    web_config: Annotated[Path | None, typer.Option(help="Settings of the HTTP server (YAML).")] = None,
    shop: Annotated[bool, typer.Option("--shop", help="With --http: also an example shop, at /shop.")] = False,
    ui: Annotated[bool, typer.Option("--ui", help="With --http: also pages about banners and the report.")] = False,
) -> None:
    """Answer banner requests over gRPC until stopped (Ctrl-C drains).

    A newly published bundle and a changed populations file are taken up without a restart.
    """
    from gateway.experiment.populations import DEFAULT_POPULATIONS
    from gateway.limits import Limits
    from gateway.server.config import ServerConfig
    from gateway.server.start import run_gateway

    files = Workspace(workspace)
    config = ServerConfig(
        bundle=bundle or files.current,
        log=files.log,
        populations=populations or DEFAULT_POPULATIONS,
        host=host,
        port=port,
        workers=workers,
        replay=replay,
        exclude_kinds=tuple(EVENT_KINDS.index(kind) for kind in _checked_kinds(exclude_kind)),
        limits=Limits(source_ms=source_ms, ranker_ms=ranker_ms, total_ms=total_ms, in_flight=in_flight),
    )
    run_gateway(config, _web_command(workspace, host, port, http, web_config, shop, ui))


def _web_command(
    workspace: Path, host: str, port: int, http: int | None, settings: Path | None, shop: bool, ui: bool
) -> list[str]:
    """How the HTTP server beside a gateway is started; its settings are checked first."""
    if http is None:
        if settings is not None or shop or ui:
            raise GatewayError("--web-config, --shop and --ui are of the HTTP server: expected --http PORT beside them")
        return []
    if settings is not None:
        from gateway.web.settings import read_web_settings

        read_web_settings(settings)
    gateway = f"{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    options = ["-w", str(workspace), "--gateway", gateway, "--port", str(http)]
    options += ["--config", str(settings)] if settings is not None else []
    options += ["--shop"] * shop + ["--ui"] * ui
    return [sys.executable, "-m", "tandem", "gateway", "web", *options]


@app.command()
def web(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    config: Annotated[Path | None, typer.Option(help="Settings (YAML), which the options below change.")] = None,
    gateway: Annotated[str | None, typer.Option(help="Where the gRPC gateway listens.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; only this machine by default.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = None,
    item_url: Annotated[str | None, typer.Option(help="The page of an item, with {item_id} in it.")] = None,
    shop: Annotated[bool, typer.Option("--shop", help="Also serve the catalog as an example shop, at /shop.")] = False,
    ui: Annotated[bool, typer.Option("--ui", help="Also serve pages about banners and the report, at /ui.")] = False,
) -> None:
    """Answer browsers and shops over HTTP, in front of a running gateway: banners, clicks, events, JSON."""
    from gateway.web.server import run_web
    from gateway.web.settings import WebSettings, read_web_settings

    settings = read_web_settings(config) if config is not None else WebSettings()
    told = {"gateway": gateway, "host": host, "port": port, "item_url": item_url}
    changes = {name: value for name, value in told.items() if value is not None}
    run_web(settings.changed(**changes) if changes else settings, Workspace(workspace), shop, ui)


@app.command()
def token(json_path: JsonOption = None) -> None:
    """Make a token for a client of /v1: give the token to the client, and its digest to the settings."""
    import hashlib
    import secrets

    made = secrets.token_urlsafe(32)
    digest = hashlib.sha256(made.encode()).hexdigest()
    console.print(f"token (shown once): {made}\n\ntokens:\n  NAME: {{sha256: {digest}}}", markup=False, soft_wrap=True)
    write_figures(json_path, {"token": made, "sha256": digest})


@app.command()
def request(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    address: Annotated[str, typer.Option(help="Where the gateway listens.")] = DEFAULT_ADDRESS,
    user: Annotated[str | None, typer.Option(help="User id; by default one of the workspace.")] = None,
    merchant: Annotated[str | None, typer.Option(help="Merchant id; by default the user's last.")] = None,
    country: Annotated[str | None, typer.Option(help="By default the user's.")] = None,
    slots: Annotated[int, typer.Option(min=1, help="Places to fill.")] = 6,
    history: Annotated[
        str | None, typer.Option(help="Item ids the user viewed, oldest first, with commas; by default their events.")
    ] = None,
    exclude_kind: Annotated[
        list[str] | None,
        typer.Option("--exclude-kind", help="Leave out items the history holds as view, click, landing or sale."),
    ] = None,
    population: Annotated[str, typer.Option(help="See what this population would get.")] = "",
    log: Annotated[
        bool, typer.Option("--log", help="Log a display, which reports count; without it the banner is a preview.")
    ] = False,
    json_path: JsonOption = None,
) -> None:
    """Ask a running gateway for one banner and show it. Nothing is logged, unless --log asks for it."""
    from gateway.client import GatewayClient
    from gateway.request_view import asker_of, print_banner
    from proto.tandem.v1 import tandem_pb2 as pb

    items = [one.strip() for one in history.split(",") if one.strip()] if history is not None else None
    asker = asker_of(Workspace(workspace), user, merchant, country, items)
    excluded = _checked_kinds(exclude_kind)
    context = pb.Context(
        user_id=asker.user_id,
        merchant_id=asker.merchant_id,
        country=asker.country,
        history=asker.history,
        exclude_kinds=[kind.upper() for kind in excluded],
    )
    with GatewayClient(address) as client:
        response = client.get_banner(context, slots, preview=not log, population=population)
    print_banner(response, asker, console)
    figures = {
        "population": response.population,
        "bundle_version": response.bundle_version,
        "degraded": list(response.degraded),
        "stage_us": {one.stage: one.us for one in response.stage_times},
        "slots": [
            {"item_id": slot.item_id, "title": slot.title, "sources": list(slot.sources), "score": slot.score}
            for slot in response.slots
        ],
    }
    write_figures(json_path, figures)


def _checked_kinds(kinds: list[str] | None) -> list[str]:
    wrong = [kind for kind in kinds or () if kind not in EVENT_KINDS]
    if wrong:
        raise GatewayError(f"--exclude-kind {wrong[0]!r}: expected one of {', '.join(EVENT_KINDS)}")
    return kinds or []


@app.command()
def compact(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Keep what can be read of damaged files and put them aside.")
    ] = False,
    json_path: JsonOption = None,
) -> None:
    """Turn the log's closed write-ahead files into Parquet segments. A running gateway does so by itself."""
    from data.eventlog import compact as compact_log

    done = compact_log(Workspace(workspace).log, salvage)
    console.print(
        f"{done.files} files compacted: {done.displays} displays, {done.tracked} tracked events; "
        f"{done.in_use} files are being written"
    )
    if done.unknown:
        console.print(f"{done.unknown} records of kinds that this version does not know are kept under log/unknown/")
    write_figures(json_path, vars(done))
    if done.damaged and not salvage:
        raise GatewayError(
            f"damaged files in {Workspace(workspace).log / 'wal'}: {', '.join(done.damaged)}; expected checksums that "
            "fit; --salvage keeps their whole records and puts the files aside"
        )
