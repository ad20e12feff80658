"""The sub-commands of `tandem gateway`."""

from typing import Annotated

import typer

from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, write_figures
from data.items import ItemTable
from data.schema import EVENT_KINDS
from data.workspace import Workspace
from gateway.errors import GatewayError
from gateway.serving_cli import add_commands

app = typer.Typer(no_args_is_help=True)
add_commands(app)

DEFAULT_ADDRESS = "127.0.0.1:50051"


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
    category: Annotated[
        list[str] | None, typer.Option(help="Items of this category or below alone, such as shoes/boots. Repeatable.")
    ] = None,
    min_price: Annotated[float | None, typer.Option(help="Items that cost so much at least.")] = None,
    max_price: Annotated[float | None, typer.Option(help="Items that cost so much at most.")] = None,
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
        filter=pb.Filter(categories=category or [], min_price=min_price, max_price=max_price),
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
def rollback(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    reason: Annotated[str, typer.Option(help="Kept in the history of bundles.")] = "rolled back",
    address: Annotated[str | None, typer.Option(help="Wait until the gateway there answers from it.")] = None,
) -> None:
    """Back to the bundle that served before; a running gateway follows, in the middle of a change too."""
    from gateway.demo.server import wait_for_version
    from pipeline.bundles import back
    from proto.tandem.v1 import tandem_pb2 as pb

    found, refused = back(Workspace(workspace), reason)
    console.print(f"bundle {found.version} is in service again, {refused} is refused", soft_wrap=True)
    if address is not None:
        merchant = ItemTable.load(found.catalog).merchants.id(0)
        wait_for_version(address, found.version, pb.Context(user_id="rollback", merchant_id=merchant))
        console.print(f"the gateway at {address} answers from it")


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
