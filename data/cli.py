"""The sub-commands of `tandem data`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

import data.criteo.cli
import data.generators.cli
from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, progress_bar, table, write_figures
from data.simulator.cli import add_commands
from data.workspace import Workspace

if TYPE_CHECKING:
    from data.description import MerchantCounts
    from data.importers import Imported

app = typer.Typer(no_args_is_help=True)


@app.command("import")
def import_events(
    file: Annotated[Path, typer.Argument(help="Parquet, CSV or TSV, plain or gzip; movielens: the zip archive too.")],
    format_name: Annotated[
        str, typer.Option("--format", "-f", help="events, rees46, retailrocket, movielens or mapping.")
    ] = "events",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    catalog: Annotated[
        Path | None, typer.Option(help="The items, in Tandem's layout (movielens: its movies file).")
    ] = None,
    mapped: Annotated[
        list[str] | None, typer.Option("--map", help="mapping: field=column, as in --map user_id=visitor.")
    ] = None,
    constant: Annotated[
        list[str] | None, typer.Option("--constant", help="mapping: field=value, as in --constant merchant_id=shop1.")
    ] = None,
    kind_map: Annotated[
        list[str] | None,
        typer.Option("--kind-map", help="mapping: value=kind, as in --kind-map order=sale; skip: leave out."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Put the events in the place of those there.")] = False,
    json_file: JsonOption = None,
) -> None:
    """Bring real events and their catalog into a workspace, checked column by column.

    Nothing is written if something is wrong. The formats and their rules stand in docs/guide/data.md.
    """
    from data.importers import ImportOptions, import_file

    options = ImportOptions(
        catalog, _pairs("--map", mapped), _pairs("--constant", constant), _pairs("--kind-map", kind_map)
    )
    with progress_bar(f"Importing {file.name}", total=1) as bar:
        imported = import_file(Workspace(workspace), file, format_name, options, replace)
        bar.advance()
    _print_counts(f"{file.name} as {format_name}, into {workspace}", _lines_of(imported))
    write_figures(json_file, asdict(imported.report) | {"events": len(imported.events), "items": len(imported.catalog)})


@app.command("describe")
def describe_workspace(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    merchants: Annotated[int, typer.Option(min=0, help="How many merchants to list, the largest first.")] = 10,
    engine: Annotated[str, typer.Option(help="What computes: duckdb or spark.")] = "duckdb",
    json_file: JsonOption = None,
) -> None:
    """Say what a workspace holds: events, users, items, merchants, the span of time."""
    from data.description import describe
    from data.engine import engine_named

    found = describe(Workspace(workspace), engine_named(engine))
    simulated = " (simulated)" if found.origin.simulated else ""
    counts: dict[str, int | str] = {
        "events": found.events,
        **{f"events: {kind}": count for kind, count in found.events_by_kind.items()},
        "users": found.users,
        "items in the catalog": found.items_in_catalog,
        "items with events": found.items_with_events,
        "merchants": found.merchants,
        "countries": found.countries,
        "first event": found.first_event.isoformat(),
        "last event": found.last_event.isoformat(),
        "items per user: median": found.items_per_user.median,
        "items per user: 90 %": found.items_per_user.ninth_decile,
        "items per user: most": found.items_per_user.most,
    }
    _print_counts(f"{workspace}: {found.origin.name}{simulated}", counts)
    _print_merchants(found.by_merchant[:merchants], found.merchants)
    write_figures(json_file, found)


def _lines_of(imported: "Imported") -> dict[str, int]:
    """What an import counted, in words."""
    report = imported.report
    lines = {"rows read": report.rows_read}
    if report.why_left_out:
        lines[f"{report.why_left_out} left out"] = report.left_out
    lines["second copies of an event dropped"] = report.repeated
    lines["events moved to the merchant of their item"] = report.moved
    if report.without_item is not None:
        lines["events of items that the catalog lacks"] = report.without_item
    return lines | {"events": len(imported.events), "items": len(imported.catalog)}


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """`a=b` options as a dictionary; a further `=` belongs to the value."""
    pairs: dict[str, str] = {}
    for one in given or []:
        name, equals, value = one.partition("=")
        name, value = name.strip(), value.strip()
        if not (name and equals and value):
            raise typer.BadParameter(f"{option} {one!r}: expected name=value")
        if name in pairs:
            raise typer.BadParameter(f"{option} {one!r}: {name!r} was given before")
        pairs[name] = value
    return pairs


def _print_counts(title: str, figures: Mapping[str, int | str]) -> None:
    shown = table(escape(title), "", "")
    for name, value in figures.items():
        shown.add_row(name, f"{value:,}" if isinstance(value, int) else escape(str(value)))
    console.print(shown)


def _print_merchants(rows: "Sequence[MerchantCounts]", of: int) -> None:
    columns = ("items", "views", "clicks", "landings", "sales", "users")
    largest = f"the {len(rows)} largest of {of:,} merchants"
    shown = table(largest if len(rows) < of else f"{of:,} merchant{'s' * (of != 1)}", "merchant", *columns)
    for row in rows:
        shown.add_row(escape(row.merchant_id), *(f"{getattr(row, name):,}" for name in columns))
    console.print(shown)


add_commands(app)
data.criteo.cli.add_commands(app)
data.generators.cli.add_commands(app)
