"""`tandem ranker profile`."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from data.console import JsonOption, SeedOption, console, progress_bar, table, write_figures

if TYPE_CHECKING:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would say on standard error when it starts and stops
    from ranker.profiling.measuring import Profile

_LONGEST = 8
"""Operators shown of each network; --json has them all."""


def add_commands(app: typer.Typer) -> None:
    """Add this module's command to `tandem ranker`."""
    app.command("profile")(profile_command)


def profile_command(
    network: Annotated[
        list[str] | None,
        typer.Option(help="kaggle, kaggle-full, random (the paper's), banner (our own); repeat. [all but kaggle-full]"),
    ] = None,
    rows: Annotated[int | None, typer.Option(help="Cut every table to so many rows; random's take 2 GB whole.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Rows of a step.")] = 2048,
    steps: Annotated[int, typer.Option(min=2, help="Measured without the profiler, and again with it.")] = 20,
    optimizer: Annotated[Literal["sgd", "rowwise_adagrad"], typer.Option(help="Of the tables.")] = "sgd",
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="cuda counts the time of its kernels.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch. [all cores]")] = None,
    seed: SeedOption = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture (PNG).")] = Path("build/profile.png"),
    json_file: JsonOption = None,
) -> None:
    """Show where the time of a training step goes, by part of the network and by operator (DLRM paper, Figure 6)."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would say on standard error when it starts and stops
    from ranker.profiling.measuring import Steps, profiled
    from ranker.profiling.plot import draw
    from ranker.profiling.workloads import workload

    chosen = [workload(name).cut(rows) for name in dict.fromkeys(network or ("kaggle", "random", "banner"))]
    run, found = Steps(batch, steps, seed, optimizer), []
    with progress_bar("profiling", len(chosen)) as bar:
        for one in chosen:
            bar.advance(0, note=f"{one.name}: tables of {one.table_bytes / 1e6:,.0f} MB")
            found.append(profiled(one, run, device, threads))
            bar.advance()
    for profile in found:
        console.print(_parts_table(profile))
        console.print(_operators_table(profile))
    draw(found, output)
    console.print(str(output))
    write_figures(json_file, {"profiles": [asdict(one) for one in found]})


def _parts_table(profile: "Profile") -> Table:
    conditions = profile.conditions
    title = (
        f"{profile.workload}: {profile.step:.2f} ± {profile.step_error:.2f} ms a step of {conditions['batch']:,} rows, "
        f"{conditions['device']}, threads: {conditions['threads']}, load {conditions['load']:.1f}"
    )
    caption = f"{profile.profiled:.2f} ms with the profiler; {conditions['count']} steps"
    made = table(title, "part", "forward, ms", "backward, ms", "share", caption=caption)
    for part in dict.fromkeys(one.part for one in profile.parts):
        own = {one.direction: one for one in profile.parts if one.part == part}
        cells = [
            f"{own[direction].milliseconds:.2f} ± {own[direction].error:.2f}" if direction in own else ""
            for direction in ("forward", "backward")
        ]
        share = sum(one.milliseconds for one in own.values()) / profile.profiled
        made.add_row(part, *cells, f"{share:.1%}")
    return made


def _operators_table(profile: "Profile") -> Table:
    title = f"{profile.workload}: the longest operators, their callees not counted"
    made = table(title, "operator", "ms a step", "share")
    for name, milliseconds in list(profile.operators.items())[:_LONGEST]:
        made.add_row(name, f"{milliseconds:.2f}", f"{milliseconds / profile.profiled:.1%}")
    return made
