"""`tandem ui`: the pages of a workspace, without a gateway."""

from pathlib import Path
from typing import Annotated

import typer

from data.console import DEFAULT_WORKSPACE, WorkspaceOption


def add_commands(root: typer.Typer) -> None:
    """Add `ui` to the command line."""
    root.command("ui")(ui)


def ui(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8090,
    populations: Annotated[Path | None, typer.Option(help="Whose banners the page shows (YAML).")] = None,
) -> None:
    """Pages in a browser on this machine: how a banner comes about, the experiment, models, live traffic, a plan.

    No gateway is needed: banners are assembled here from the bundle in service, and nothing is logged.
    """
    from data.workspace import Workspace
    from gateway.experiment.populations import DEFAULT_POPULATIONS
    from gateway.web.server import run_ui

    run_ui(Workspace(workspace), populations or DEFAULT_POPULATIONS, port)
