"""The list of figures: which command measures each, how long it takes, what it needs."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

ROOT = Path(__file__).parents[2]
CATALOGUE = Path(__file__).with_name("figures.yaml")
RESULTS = ROOT / "docs" / "figures"


class Figure(BaseModel):
    """One entry of figures.yaml; its results go to docs/figures/<name>.json.

    Attributes:
        commands: run in this order. `{data}`, `{work}` and `{out}` stand for the real data, a folder that is kept
            between figures, and the folder whose JSON files become the figure's results, by their names.
        minutes: about how long they take on 2 cores.
        data: folders that have to exist below `{data}`.
        after: figures whose workspaces these commands use: measured first where the workspace is missing.
        leave_out: paths into the results (with dots) that no table needs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    commands: Annotated[tuple[str, ...], Field(min_length=1)]
    minutes: float
    data: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()


def read_catalogue(path: Path = CATALOGUE) -> dict[str, Figure]:
    """The figures by name, the most important first."""
    return {name: Figure.model_validate(entry) for name, entry in yaml.safe_load(path.read_text()).items()}
