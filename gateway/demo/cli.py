"""`tandem demo`: the whole path in one command, on a simulated marketplace or on real logs."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from data.console import JsonOption, SeedOption, WorkspaceOption, console, write_figures
from data.workspace import Workspace

DEMO_WORKSPACE = Path("workspace")
ClientsOption = Annotated[int, typer.Option(min=1, max=64, help="Client processes that ask for banners.")]
WorkersOption = Annotated[int, typer.Option(min=1, max=64, help="Worker processes of the gateway.")]


def add_commands(root: typer.Typer) -> None:
    """Add `demo` to the command line."""
    root.command("demo")(demo)


def demo(
    workspace: WorkspaceOption = DEMO_WORKSPACE,
    events: Annotated[Path | None, typer.Option(help="Real logs; without them a marketplace is simulated.")] = None,
    format_name: Annotated[
        str, typer.Option("--format", "-f", help="Of the logs: events, rees46, retailrocket or movielens.")
    ] = "events",
    split: Annotated[
        Literal["user", "time"], typer.Option(help="Real logs: hold out a share of the users, or the newest events.")
    ] = "user",
    preset: Annotated[str, typer.Option(help="Simulation: small (tests), demo or large.")] = "demo",
    users: Annotated[int | None, typer.Option(help="Simulation: another number of users.")] = None,
    personalisation: Annotated[
        float | None, typer.Option(help="Simulation: 0, everybody wants the same, to 1, only their own.")
    ] = None,
    seed: SeedOption = 1,
    clients: ClientsOption = 4,
    workers: WorkersOption = 2,
    json_file: JsonOption = None,
) -> None:
    """Run the whole path: events, training, gateway, banners over gRPC, and what they brought.

    Without --events: simulate a marketplace, serve three populations (GBO; GBO + CBO; GBO + CBO + LED), feed the users'
    views, clicks, landings and sales back, retrain both stages from that log, and measure the uplift beside the true
    one, and what the retraining brought.
    With --events: import them, train on a part, and answer held-out users' requests.
    """
    from data import simulator
    from data.importers import import_file
    from gateway.demo import tables
    from gateway.demo.place import check_room, make_room
    from gateway.demo.real import RealConfig, run_real
    from gateway.demo.simulated import DemoConfig, run_simulated
    from pipeline.training import TrainingPlan

    place, plan = Workspace(workspace), TrainingPlan(seed=seed)
    if events is None:
        changes: dict[str, Any] = {"seed": seed, "users": users, "personalisation": personalisation}
        marketplace = simulator.preset(preset, **{name: one for name, one in changes.items() if one is not None})
        done = run_simulated(place, DemoConfig(marketplace, plan, clients=clients, workers=workers))
        tables.print_simulated(done, console)
        write_figures(json_file, tables.simulated_figures(done))
        return
    check_room(place, format_name)
    imported = import_file(place, events, format_name, replace=True)
    make_room(place, format_name)
    console.print(
        f"{imported.events:,} events and {imported.items:,} items of {events.name} are in {place.root}",
        highlight=False,
    )
    result = run_real(place, RealConfig(plan, split, clients=clients, workers=workers))
    tables.print_real(result, place.origin(), split, console)
    write_figures(json_file, tables.real_figures(result))
