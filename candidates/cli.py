"""The sub-commands of `tandem candidates`."""

import typer

app = typer.Typer(no_args_is_help=True)
