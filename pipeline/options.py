"""Options that the training commands share. What is not given stays as the workspace keeps it, or the default."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from data.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.settings import TrainingPlan

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Settings (YAML) in place of those that the workspace keeps in training.yaml."),
]
EngineOption = Annotated[
    Literal["duckdb", "spark"], typer.Option(help="What runs the relational steps: duckdb or spark.")
]
LedOption = Annotated[
    Literal["auto", "spectral", "project", "full"] | None,
    typer.Option(
        help="How LED is made: spectral (closed form), project (one matrix is trained), full (every vector is), "
        "or auto, the default: the best of the three on validation users."
    ),
]
DimensionOption = Annotated[
    int | None, typer.Option(min=1, max=4096, help="Of the item vectors; 100 if the workspace keeps no other.")
]
LossOption = Annotated[
    Literal["bpr", "css", "negative_sampling", "multinomial"] | None, typer.Option(help="What LED is trained with.")
]
WindowOption = Annotated[
    float | None, typer.Option("--window-days", help="GBO: only events of the newest so many days; default: all.")
]
HalfLifeOption = Annotated[
    float | None, typer.Option("--half-life-days", help="GBO: an interest counts half after so many days.")
]
EpochsOption = Annotated[int | None, typer.Option(min=0, help="At most so many epochs of LED.")]


def plan_of(
    workspace: Workspace,
    config: Path | None = None,
    *,
    dimension: int | None = None,
    led: str | None = None,
    loss: str | None = None,
    epochs: int | None = None,
    window_days: float | None = None,
    half_life_days: float | None = None,
    **others: Any,
) -> "TrainingPlan":
    """The workspace's plan with the options given. `others`: fields of the plan itself, such as seed."""
    from pipeline.settings import TrainingPlan

    changes = {
        "candidates.embedding.dimension": dimension,
        "candidates.led.dimension": dimension,
        "candidates.led.tuning": led,
        "candidates.led.loss": loss,
        "candidates.led.epochs": epochs,
        "candidates.gbo.window_days": window_days,
        "candidates.gbo.half_life_days": half_life_days,
        **others,
    }
    return TrainingPlan.of(workspace, config, changes)
