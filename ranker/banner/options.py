"""The options of the commands that train a ranker or put one into service."""

from typing import Annotated, Literal

import typer

SaleWeightOption = Annotated[
    float | None,
    typer.Option(
        "--sale-weight",
        min=0,
        help="Of a sale in a candidate's score, beside the weight of a click, 1; 0, the default: clicks alone.",
    ),
]
SaleDaysOption = Annotated[
    int | None, typer.Option("--sale-days", min=1, help="A sale longer after the click is nobody's; 30 by default.")
]
ServeOption = Annotated[
    Literal["auto", "always", "never"] | None,
    typer.Option(
        "--ranker",
        help="Whether the ranker orders banners: auto, the default, as far as that helps on later requests; always, "
        "alone; never.",
    ),
]
