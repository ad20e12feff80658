"""`tandem ranker update`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from data.console import DEFAULT_WORKSPACE, JsonOption, SeedOption, WorkspaceOption, console, notices, write_figures
from data.workspace import Workspace

if TYPE_CHECKING:
    from ranker.updates.update import Update

REFUSED = 3
"""The exit code where the new ranker is worse than the one in service."""


def add_commands(app: typer.Typer) -> None:
    """Add this module's command to `tandem ranker`."""
    app.command("update")(update_command)


def update_command(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    label: Annotated[
        Literal["click", "sale"] | None,
        typer.Option(
            help="What makes a slot positive; by default what it was for the ranker in service.", show_default=False
        ),
    ] = None,
    minimum: Annotated[int, typer.Option(min=1, help="New displays without which nothing is done.")] = 500,
    wait: Annotated[
        float | None,
        typer.Option(min=0, help="Minutes until a display's outcome is known; by default 30, of sales 30 days."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Publish even a ranker that is worse.")] = False,
    every: Annotated[
        float | None, typer.Option(min=0.01, help="Go on in rounds of so many minutes, until stopped.")
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Remove the bundles of earlier updates but for so many; by default all stay."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of torch; one gives the same model twice.")] = 1,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Train the ranker in service on the displays logged since; publish it if it is better on the newest of them.

    A ranker that is worse is refused: exit code 3, and the one in service stays. A running gateway takes a published
    bundle up by itself.
    """
    from ranker.updates.config import UpdateConfig
    from ranker.updates.loop import keep_updating, only_updater
    from ranker.updates.update import update_ranker

    place = Workspace(workspace)
    config = UpdateConfig(label=label, minimum=minimum, wait_minutes=wait, threads=threads, force=force)
    with only_updater(place):
        if every is not None:
            keep_updating(place, config, seed, every, lambda update: _finish(update, place, keep, json_file))
            return
        update = update_ranker(place, config, seed)
        _finish(update, place, keep, json_file)
    _show(update, place)
    if update.bundle is None:
        raise typer.Exit(REFUSED)


def _show(update: "Update", place: Workspace) -> None:
    from ranker.tables import guard_table, metrics_table
    from ranker.updates.loop import sentence

    rows, found = update.figures["examples"], update.comparison
    title = f"{rows['test']:,} held-out slots of the newest {rows['test_requests']:,} displays"
    console.print(metrics_table(update.figures, title, place.origin().name))
    grown = {name: count for name, count in update.figures["update"]["grown"].items() if count}
    ids = ", ".join(f"{count:,} of {name}" for name, count in grown.items()) or "none"
    console.print(
        f"trained on {rows['train']:,} new slots; ids that got rows of their own: {ids}\n"
        f"log loss less the running ranker's {found.log_loss} (± standard error over displays), less that of the "
        f"running one recalibrated {found.recalibrated}; NDCG@10 {found.ndcg}",
        highlight=False,
    )
    console.print(guard_table(update.figures["guard"]))
    if update.bundle is None:
        notices.print(
            f"[bold red]refused:[/] {sentence(update)}; --force publishes it", highlight=False, soft_wrap=True
        )
    else:
        console.print(sentence(update), highlight=False, soft_wrap=True)


def _finish(update: "Update", place: Workspace, keep: int | None, json_file: Path | None) -> None:
    from ranker.updates.loop import remove_old

    bundle = update.bundle.version if update.bundle is not None else None
    write_figures(json_file, {"bundle": bundle, "instead_of": update.running.version, **update.figures})
    if keep is not None and bundle is not None:
        remove_old(place, keep)
