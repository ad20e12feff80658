"""The sub-commands of `tandem data`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

import data.criteo.cli
import data.generators.cli
from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, table, write_figures
from data.simulator.cli import add_commands
from data.workspace import Workspace

if TYPE_CHECKING:
    from data.description import MerchantCounts
    from data.importers import ImportReport

app = typer.Typer(no_args_is_help=True)


@app.command("import")
def import_events(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Parquet, CSV, TSV, JSON lines; plain, gzipped, in a zip or a folder."),
    ],
    format_name: Annotated[
        str, typer.Option("--format", "-f", help="auto: told from the file; events, mapping, or a data set's name.")
    ] = "auto",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    catalog: Annotated[
        Path | None, typer.Option(help="The items, in Tandem's layout, or a data set's own file of them.")
    ] = None,
    mapped: Annotated[
        list[str] | None, typer.Option("--map", help="field=column, as in --map user_id=visitor or --map user_id=1.")
    ] = None,
    constant: Annotated[
        list[str] | None, typer.Option("--constant", help="field=value, as in --constant merchant_id=shop1.")
    ] = None,
    kind_map: Annotated[
        list[str] | None,
        typer.Option("--kind-map", help="value=kind, as in --kind-map order=sale; skip: leave out."),
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="Between values: a sign, tab, or json for JSON lines.", show_default="found")
    ] = None,
    header: Annotated[
        Literal["yes", "no", "auto"], typer.Option(help="Whether the first row names the columns; no: 1, 2, 3, ...")
    ] = "auto",
    quotes: Annotated[
        bool | None,
        typer.Option("--quotes/--no-quotes", help="Whether values may be quoted.", show_default="not after tabs"),
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(help="seconds, milliseconds, microseconds, nanoseconds, excel, relative, or as %d.%m.%Y %H:%M."),
    ] = None,
    skip_bad: Annotated[
        int, typer.Option(min=0, help="Leave out so many bad rows at most, count them, keep them in bad_rows.tsv.")
    ] = 0,
    replace: Annotated[bool, typer.Option("--replace", help="Put the events in the place of those there.")] = False,
    append: Annotated[
        bool, typer.Option("--append", help="Add to the events there, read as they were unless said otherwise.")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Bring real events and their catalog into a workspace, checked row by row.

    Nothing is written if something is wrong. Each row read is an event, or counted. Formats: docs/guide/data.md.
    """
    from data.importers import ImportOptions, import_file
    from data.readers.sniffing import Reading

    named = (pairs("--map", mapped), pairs("--constant", constant), pairs("--kind-map", kind_map))
    reading = Reading(sign_of(separator), {"yes": True, "no": False, "auto": None}[header], quotes, time_format)
    options = ImportOptions(catalog, *named, reading, skip_bad)
    report = import_file(Workspace(workspace), files, format_name, options, replace, append)
    print_counts(f"{', '.join(file.name for file in files)} as {report.format}, into {workspace}", _lines_of(report))
    if report.why != "--format":
        console.print(f"taken for {report.format} by {escape(report.why)}", highlight=False)
    if report.kept_beside:
        console.print(f"the bad rows are in {escape(report.kept_beside)}", highlight=False)
    write_figures(json_file, asdict(report))


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
    print_counts(f"{workspace}: {found.origin.name}{simulated}", counts)
    _print_merchants(found.by_merchant[:merchants], found.merchants)
    write_figures(json_file, found)


def _lines_of(report: "ImportReport") -> dict[str, int]:
    """What an import counted, in words: rows in, what became of them, and what is worth a look."""
    lines = {"rows read": report.rows_read}
    if report.further:
        lines["further events of a row"] = report.further
    if report.bad:
        lines["bad rows left out"] = report.bad
    lines |= {f"{why} left out": count for why, count in report.left_out.items()}
    lines["second copies of an event dropped"] = report.repeated
    if report.already_there:
        lines["events that the workspace held already"] = report.already_there
    lines["events"] = report.events
    lines["events moved to the merchant of their item"] = report.moved
    if report.without_item is not None:
        lines["events of items that the catalog lacks"] = report.without_item
    if report.blank_lines:
        lines["blank lines"] = report.blank_lines
    if report.continued_lines:
        lines["lines inside of quoted values"] = report.continued_lines
    lines |= {
        f"values of {name} with blanks at an end or invisible characters": count
        for name, count in report.invisible.items()
    }
    return lines | {"items": report.items}


def sign_of(separator: str | None) -> str | None:
    """What `--separator` stands for."""
    return {"tab": "\t", "\\t": "\t"}.get(separator or "", separator)


def pairs(option: str, given: list[str] | None) -> dict[str, str]:
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


def print_counts(title: str, figures: Mapping[str, int | str]) -> None:
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
