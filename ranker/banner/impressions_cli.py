"""`tandem data impressions`: a display log of one's own for the ranker."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from data.cli import pairs, print_counts, sign_of
from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, write_figures
from data.workspace import Workspace


def add_commands(app: typer.Typer) -> None:
    """Add this module's command to `tandem data`."""
    app.command("impressions")(impressions)


def impressions(
    file: Annotated[
        Path,
        typer.Argument(help="CSV, TSV, JSON lines or Parquet, plain or gzipped: a slot a row.", show_default=False),
    ],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    mapped: Annotated[
        list[str] | None, typer.Option("--map", help="A field's column: item_id=sku. Repeatable.")
    ] = None,
    time_format: Annotated[str | None, typer.Option(help="As of `tandem data import`.")] = None,
    separator: Annotated[str | None, typer.Option(help="Between values.", show_default="found")] = None,
    skip_bad: Annotated[
        int, typer.Option(min=0, help="Leave out so many bad rows at most, and keep them in bad_impressions.tsv.")
    ] = 0,
    json_file: JsonOption = None,
) -> None:
    """Bring banners of your own into the log, with what was clicked: the next training of the ranker learns from them.

    Columns: display_id, user_id, item_id, ts, clicked; position, order_value, country, publisher, device if there are.
    Events and catalog come first (`tandem data import`): a slot's features are those of its moment. Each row read is a
    slot, or counted.
    """
    from data.readers.sniffing import Reading
    from ranker.banner.impressions import import_impressions

    reading = Reading(sign_of(separator), time_format=time_format)
    found = import_impressions(Workspace(workspace), file, pairs("--map", mapped), reading, skip_bad)
    read = found.impressions
    counts = {"rows read": read.rows} | ({"bad rows left out": read.bad} if read.bad else {})
    counts |= {f"slots {why} left out": count for why, count in read.left_out.items()}
    counts |= {"slots": read.slots, "displays": found.displays, "clicks": found.clicks, "sales": found.sales}
    print_counts(f"{file.name}, into the log of {workspace}", counts)
    console.print("`tandem train` learns from them once enough were clicked (enough_clicks)", highlight=False)
    write_figures(json_file, asdict(found))
