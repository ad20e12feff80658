"""The sub-commands of `tandem gateway`."""

import typer

app = typer.Typer(no_args_is_help=True)


def add_top_level_commands(root: typer.Typer) -> None:
    """Commands that need every part: `tandem demo`, `tandem train`, `tandem report`."""
