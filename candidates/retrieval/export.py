"""`tandem candidates export-vectors`: the item vectors of the bundle in service, as Parquet."""

from pathlib import Path
from typing import Annotated

import typer

from data.console import DEFAULT_WORKSPACE, WorkspaceOption, console
from data.workspace import Workspace


def add_commands(app: typer.Typer) -> None:
    """Add the command to `tandem candidates`."""
    app.command("export-vectors")(export_vectors)


def export_vectors(
    output: Annotated[Path, typer.Option("--output", "-o", help="The Parquet file.", show_default=False)],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    country: Annotated[str | None, typer.Option(help="Whose model; default: the largest country's.")] = None,
) -> None:
    """Write LED's item vectors of the bundle in service: item_id, vector, scale and bias of every item that it knows.

    A user's vector is the sum of scale x vector over the items they took, divided by a power of their number that is
    shown here; an item's score is the inner product of its vector with that, plus its bias.
    """
    from candidates.encoder import read_countries
    from candidates.led.source import Led
    from candidates.models.vectors import write_item_vectors
    from candidates.retrieval.questions import InService
    from candidates.sources import load_sources

    service = InService.of(Workspace(workspace))
    led = load_sources(service.bundle, service.items, ["led"])["led"]
    assert isinstance(led, Led)
    positions, found = led.item_vectors(country or "")
    chosen = country or read_countries(service.bundle.candidates / "led")[0]
    ids = service.items.items.ids_at(positions)
    write_item_vectors(output, ids, found.vectors, scale=found.scales, bias=found.biases)
    dimension = found.vectors.shape[1]
    console.print(
        f"{output}: {len(ids):,} vectors of {dimension} numbers, country {chosen or 'none'}, "
        f"length power {found.length_power:g}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
