"""The commands: measure, render, status."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from bench.figures.catalogue import ROOT, read_catalogue
from bench.figures.measure import FigureError, is_fresh, measure, measured, missing_data
from bench.figures.pictures import take_pictures
from bench.figures.render import render_all

app = typer.Typer(no_args_is_help=True, help="Measure the figures of README and docs, and render their tables.")


@app.command("measure")
def measure_command(
    only: Annotated[str, typer.Option(help="Names, with commas. By default all.")] = "",
    budget: Annotated[float, typer.Option(help="Minutes: begin no figure that would not end within them.")] = 1e9,
    anew: Annotated[bool, typer.Option("--anew", help="Also figures that are of this source already.")] = False,
    readme: Annotated[bool, typer.Option("--first", help="Only figures that take at most six minutes.")] = False,
) -> None:
    """Measure figures, the most important first; those of this source already are passed over (so it resumes)."""
    catalogue = read_catalogue()
    names = [name for name in only.split(",") if name] or list(catalogue)
    unknown = [name for name in names if name not in catalogue]
    if unknown:
        raise FigureError(f"no figure is called {', '.join(unknown)}; there are {', '.join(catalogue)}")
    began, done, failed = time.time(), set[str](), []
    for name in names:
        figure = catalogue[name]
        left = budget - (time.time() - began) / 60
        if name in done or (is_fresh(name) and not anew):
            typer.echo(f"{name}: is of this source already")
        elif (missing := missing_data(figure)) and not only:
            typer.echo(f"{name}: left out, {', '.join(missing)} is not here")
        elif figure.minutes > left or (readme and figure.minutes > 6):
            typer.echo(f"{name}: left out, takes about {figure.minutes:g} minutes")
        else:
            typer.echo(f"{name}: about {figure.minutes:g} minutes ...")
            try:
                typer.echo(f"{name}: {measure(name, catalogue, done):.0f} s")
            except FigureError as error:
                failed.append(name)
                typer.echo(f"error: {error}", err=True)
    if failed:
        raise FigureError(f"not measured: {', '.join(failed)}; the others are in docs/figures")


@app.command("render")
def render_command(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 where a page differs.")] = False,
) -> None:
    """Fill the blocks of README and docs from docs/figures."""
    changed = render_all(check)
    for page in changed:
        typer.echo(f"{page.relative_to(ROOT)}: {'differs from docs/figures' if check else 'rendered'}")
    if check and changed:
        raise typer.Exit(1)


@app.command("status")
def status_command() -> None:
    """List every figure: its commit and date, and whether it is of this source."""
    for name, figure in read_catalogue().items():
        made = measured(name).get("measured", {})
        state = (
            "fresh" if is_fresh(name) else f"of {made.get('commit')}, {made.get('date')}" if made else "not measured"
        )
        typer.echo(f"{name:24} {figure.minutes:5.1f} min  {state}")


@app.command("pictures")
def pictures_command(
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Of a demo.")] = Path("workspace"),
) -> None:
    """Take README's pictures anew: the report's page (with chromium) and a banner in the terminal."""
    for picture in take_pictures(workspace):
        typer.echo(f"{picture.relative_to(ROOT)}: {picture.stat().st_size // 1024} KiB")


def main() -> None:
    """Run; a FigureError is one sentence and exit code 2."""
    try:
        app()
    except FigureError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
