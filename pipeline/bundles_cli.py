"""`tandem bundles`: which there are, and which serves."""

import time
from typing import Annotated

import typer
from rich.markup import escape

from data.bundle import PARTS
from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, table, write_figures
from data.workspace import Workspace
from pipeline import bundles
from pipeline.options import AllowOption

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_command(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json_path: JsonOption = None) -> None:
    """Every bundle, the newest first: when it was made, of what, and whether it serves."""
    states = bundles.bundle_states(Workspace(workspace))
    shown = table("Bundles", "version", "made (UTC)", "events of", "parts", "state")
    rows = []
    for one in states:
        made, origin, parts = "", "", []
        if one.bundle is not None:
            made = time.strftime("%Y-%m-%d %H:%M", time.gmtime(one.bundle.created))
            origin = one.bundle.origin.name
            parts = [part for part in PARTS if one.bundle.has(part)]
        said = f"{one.state}: {one.reason}" if one.reason else one.state
        shown.add_row(one.version, made, escape(origin), ", ".join(parts), escape(said))
        row = {"version": one.version, "state": one.state, "reason": one.reason, "parts": parts, "origin": origin}
        rows.append(row | {"created": one.bundle.created if one.bundle is not None else None})
    console.print(shown)
    write_figures(json_path, {"bundles": rows})


@app.command()
def use(
    version: Annotated[str, typer.Argument(help="The folder's name, as `list` shows it.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    allow: AllowOption = False,
) -> None:
    """Put a bundle into service: it is checked file by file; running gateways follow."""
    found = bundles.use(Workspace(workspace), version, allow)
    console.print(f"bundle {found.version} is in service", soft_wrap=True)


@app.command()
def back(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    reason: Annotated[str, typer.Option(help="Kept in the history, and shown by `list`.")] = "by hand",
) -> None:
    """Put the bundle that served before into service again; the present one counts as refused."""
    found, refused = bundles.back(Workspace(workspace), reason)
    console.print(f"bundle {found.version} is in service again, {refused} is refused", soft_wrap=True)


@app.command()
def prune(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    keep: Annotated[int, typer.Option(min=0, help="Besides the one in service and the one before it.")] = 3,
    json_path: JsonOption = None,
) -> None:
    """Remove the oldest bundles."""
    gone = bundles.remove_old_bundles(Workspace(workspace), keep)
    console.print(f"{len(gone)} bundles removed: {', '.join(gone) or 'none'}", soft_wrap=True)
    write_figures(json_path, {"removed": gone})
