"""`tandem candidates add-items`: new items into service between two trainings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from data.console import DEFAULT_WORKSPACE, JsonOption, SeedOption, WorkspaceOption, console, table, write_figures
from data.workspace import Workspace

if TYPE_CHECKING:
    from candidates.cold_start.catalog_diff import CatalogDiff
    from data.bundle import Bundle, BundleDraft
    from data.timelines import Timelines


def add_commands(app: typer.Typer) -> None:
    """Add the command to `tandem candidates`."""
    app.command("add-items")(add_items_command)


def add_items_command(
    file: Annotated[Path, typer.Argument(help="Catalog rows in Tandem's layout, Parquet or CSV.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    events: Annotated[
        Path | None, typer.Option(help="Events since, of new and old items: who took the new items, and what else.")
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="The share of the events' users that recall is measured on.")
    ] = 0.1,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Put new items into service without training, in a new bundle that a running gateway picks up.

    An item stands among those that its users took too, without events where its category does. Shows recall on new and
    on old items, before and after. The next training learns the items properly: the workspace keeps the rows.
    """
    from candidates.new_items.addition import AdditionConfig, add_items

    place = Workspace(workspace)
    bundle, figures = add_items(place, file, events, AdditionConfig(held_out=held_out, seed=seed), _keep_ranker)
    counts = figures["items"]
    console.print(
        f"{counts['new']:,} new items beside {counts['before']:,}; {counts['new with events']:,} of them have events, "
        f"{counts['already there']:,} rows of the file are of items that were there and stay as they are"
    )
    _print_recall(figures["recall"], figures["asked"], place.origin().name)
    console.print(f"bundle {bundle.version} is in service", highlight=False)
    write_figures(json_file, {"bundle": bundle.version, **figures})


def _keep_ranker(bundle: "Bundle", draft: "BundleDraft", diff: "CatalogDiff", timelines: "Timelines") -> None:
    """The bundle's ranker into the draft, for the catalog of after."""
    from ranker.banner.new_items import extend_ranker

    extend_ranker(bundle.ranker, draft.folder("ranker"), diff.after, diff.moved, diff.added, timelines)
    if "ranker" in bundle.metrics:
        draft.metrics["ranker"] = bundle.metrics["ranker"]


def _print_recall(recall: dict[str, Any], whom: str, origin: str) -> None:
    users = next(iter(recall["after"]["old"].values()))["users"]
    title = f"recall@20 on {users:,} {whom} · {escape(origin)}"
    shown = table(title, "source", "old items before", "after", "new items before", "after")
    for source in recall["after"]["old"]:
        cells = [recall[when][kind][source] for kind in ("old", "new") for when in ("before", "after")]
        shown.add_row(source, *(_cell(one) for one in cells))
    console.print(shown)


def _cell(one: dict[str, Any]) -> str:
    return f"{one['recall@20']:.4f} ± {one['recall@20_se']:.4f}" if one["users"] else "nobody asked"
