"""Options that the training commands share. What is not given stays as the workspace keeps it, or the default."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
TargetsOption = Annotated[
    Literal["last_share", "next_days"] | None,
    typer.Option(
        help="What users kept out of training are asked for: last_share, the last fifth of their events (the default), "
        "or next_days, those of their last days, which LED is then also trained to find."
    ),
]
TargetDaysOption = Annotated[
    float | None, typer.Option(min=0.01, help="How many last days next_days stands for; 7 if none is kept.")
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
AllowOption = Annotated[
    bool,
    typer.Option(
        "--allow",
        help="Go on even if the new bundle is poorer than the one in service: a source, a country, a merchant, or a "
        "fifth of the available items less.",
    ),
]
LogOption = Annotated[
    bool | None,
    typer.Option("--from-log/--no-log", help="Also learn from what the gateway logged; the default."),
]
EpochsOption = Annotated[int | None, typer.Option(min=0, help="At most so many epochs of LED.")]


_PLACES = {
    "dimension": ("candidates.embedding.dimension", "candidates.led.dimension"),
    "led": ("candidates.led.tuning",),
    "targets": ("candidates.targets",),
    "target_days": ("candidates.led.target_days",),
    "loss": ("candidates.led.loss",),
    "epochs": ("candidates.led.epochs",),
    "serve": ("ranker.serve",),
    "sale_weight": ("ranker.objectives.sale",),
    "sale_days": ("ranker.attribution.window_days",),
    "window_days": ("candidates.gbo.window_days",),
    "half_life_days": ("candidates.gbo.half_life_days",),
    "k": ("pooled",),
    "log": ("from_log",),
} | {name: (name,) for name in ("later_share", "requests", "engine", "seed")}
"""Where a command's option stands in the plan."""


def plan_of(context: typer.Context) -> "TrainingPlan":
    """The plan that the command's workspace keeps, or that of its --config, with the options that were given."""
    from pipeline.settings import TrainingPlan

    found = context.params
    changes = {place: found[name] for name in found if was_given(context, name) for place in _PLACES.get(name, ())}
    return TrainingPlan.of(Workspace(found["workspace"]), found["config"], changes)


def was_given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line, be it with its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
