"""`tandem catalog update` and `tandem candidates add-items`: a catalog's changes into service between two trainings."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from data.console import (
    DEFAULT_WORKSPACE,
    JsonOption,
    SeedOption,
    WorkspaceOption,
    console,
    notices,
    table,
    write_figures,
)
from data.schema import CATALOG_SCHEMA
from data.workspace import Workspace
from pipeline.options import AllowOption

app = typer.Typer(no_args_is_help=True)

EventsOption = Annotated[
    Path | None,
    typer.Option(help="Events since, of new and old items: who took the new items, and what else. The workspace keeps "
    "them."),
]  # fmt: skip
HeldOutOption = Annotated[
    float, typer.Option(min=0.01, max=0.9, help="The share of the events' users that recall is measured on.")
]


def add_commands(candidates: typer.Typer) -> None:
    """Add `add-items` to `tandem candidates`."""
    candidates.command("add-items")(add_items_command)


@app.callback()
def _catalog() -> None:
    """The items that a workspace serves."""


@app.command("update")
def update_command(
    file: Annotated[
        Path, typer.Argument(help="Catalog rows in Tandem's layout, Parquet or CSV; columns it lacks stay as they are.")
    ],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    events: EventsOption = None,
    retire_missing: Annotated[
        bool, typer.Option("--retire-missing", help="The file is the whole catalog: retire the items that it lacks.")
    ] = False,
    skip_bad: Annotated[
        int, typer.Option(min=0, help="Leave out so many rows at most whose item is another merchant's.")
    ] = 0,
    held_out: HeldOutOption = 0.1,
    allow: AllowOption = False,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Change prices, titles, categories and availability, add and retire items, without training.

    The changes go into service in a new bundle that keeps both stages, and that a running gateway picks up; the
    workspace keeps them for its next training. An item with available=no is retired: no longer proposed, but those who
    took it are still understood by it. Before the first training the workspace's catalog alone changes.
    """
    from candidates.new_items.addition import AdditionConfig, CatalogRequest, update_catalog
    from pipeline.carrying import keep_ranker_of

    place = Workspace(workspace)
    request = CatalogRequest(file, events, False, retire_missing, skip_bad, allow)
    bundle, figures = update_catalog(place, request, AdditionConfig(held_out=held_out, seed=seed), keep_ranker_of)
    counts = figures["changes"]
    console.print(
        f"{counts['added']:,} added, {counts['changed']:,} changed, {counts['retired']:,} retired, "
        f"{counts['returned']:,} available again, {counts['unchanged']:,} unchanged, {counts['refused']:,} refused"
        + (f" ({counts['missing']:,} of the retired are not in the file)" if counts["missing"] else ""),
        highlight=False,
        soft_wrap=True,
    )
    if counts["refused"]:
        notices.print(
            f"[bold yellow]warning:[/] rows left out, since their items are of other merchants: {counts['refused']:,}",
            highlight=False,
            soft_wrap=True,
        )
    _warn_of_unread(file, figures["columns not read"])
    version = None if bundle is None else bundle.version
    if "recall" in figures:
        _print_recall(figures["recall"], figures["asked"], place.origin().name)
        console.print(f"bundle {version} is in service", highlight=False)
    elif bundle is None:
        console.print("nothing is in service yet: the next training has these items", highlight=False)
    else:
        console.print(f"bundle {version} stays in service: it has these items as they are", highlight=False)
    write_figures(json_file, {"bundle": version, **figures})


def add_items_command(
    file: Annotated[Path, typer.Argument(help="Catalog rows in Tandem's layout, Parquet or CSV.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    events: EventsOption = None,
    held_out: HeldOutOption = 0.1,
    allow: AllowOption = False,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Put new items into service without training, in a new bundle that a running gateway picks up.

    An item stands among those that its users took too, without events where its category does. Shows recall on new and
    on old items, before and after. The next training learns the items properly: the workspace keeps the rows. Items
    that are there already stay as they are; `tandem catalog update` changes them, too.
    """
    from candidates.new_items.addition import AdditionConfig, add_items
    from pipeline.carrying import keep_ranker_of

    place = Workspace(workspace)
    config = AdditionConfig(held_out=held_out, seed=seed)
    bundle, figures = add_items(place, file, events, config, keep_ranker_of, allow)
    counts, changes = figures["items"], figures["changes"]
    there = sum(changes[name] for name in ("changed", "retired", "returned", "unchanged"))
    console.print(
        f"{counts['new']:,} new items beside {counts['before']:,}; {counts['new with events']:,} of them have events, "
        f"{there:,} rows of the file are of items that were there and stay as they are"
    )
    if events is not None:
        console.print(
            f"{counts['events']:,} events, {counts['events there already']:,} of them there already, "
            f"{counts['events of items that no catalog has']:,} known ones of items that no catalog has"
        )
    _warn_of_unread(file, figures["columns not read"])
    _print_recall(figures["recall"], figures["asked"], place.origin().name)
    console.print(f"bundle {bundle.version} is in service", highlight=False)
    write_figures(json_file, {"bundle": bundle.version, **figures})


def _warn_of_unread(file: Path, columns: list[str]) -> None:
    if columns:
        known = ", ".join(CATALOG_SCHEMA.names)
        told = f"columns of {file} that are not read: {', '.join(columns)}; expected some of {known}"
        notices.print(f"[bold yellow]warning:[/] {escape(told)}", highlight=False, soft_wrap=True)


def _print_recall(recall: dict[str, Any], whom: str, origin: str) -> None:
    users = next(iter(recall["after"]["old"].values()))["users"]
    title = f"recall@20 on {users:,} {whom} · {escape(origin)}"
    shown = table(title, "source", "old items before", "after", "new items before", "after")
    for source in recall["after"]["old"]:
        cells = [recall[when][kind][source] for kind in ("old", "new") for when in ("before", "after")]
        shown.add_row(source, *(_cell(one) for one in cells))
    console.print(shown)


def _cell(one: dict[str, Any]) -> str:
    from candidates.tables import with_error

    return with_error(one["recall@20"], one["recall@20_se"]) if one["users"] else "nobody asked"
