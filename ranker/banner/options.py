"""The option of the commands that train a ranker or put one into service."""

from typing import Annotated, Literal

import typer

ServeOption = Annotated[
    Literal["auto", "always", "never"] | None,
    typer.Option(
        "--ranker",
        help="Whether the ranker orders banners: auto, the default, as far as that helps on later requests; always, "
        "alone; never.",
    ),
]
