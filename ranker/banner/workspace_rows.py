"""What of a workspace a ranker is trained on: pooled examples, the display log, timelines."""

from typing import Literal

import pyarrow as pa

from data.attribution import DEFAULT, Attribution
from data.distinct import first_of_each
from data.examples import EXAMPLE_SCHEMA
from data.items import ItemTable
from data.parquet import read_in_schema
from data.tables import load_events
from data.timelines import Timelines
from data.workspace import Workspace
from ranker.banner.logged import Log, matured, read_log
from ranker.errors import RankerError

Origins = Literal["log", "timelines", "both"]

EXAMPLES = "examples.parquet"
"""The file of a workspace with the examples pooled from timelines."""


def training_rows(
    workspace: Workspace,
    items: ItemTable,
    origins: Origins | None,
    label: str,
    wait_minutes: float | None,
    attribution: Attribution = DEFAULT,
) -> tuple[Timelines, pa.Table | None, Log | None]:
    """Timelines, pooled examples, display log: as far as asked for, or there."""
    logged = read_log(workspace.log)
    if origins is None:
        pooled = (workspace.root / EXAMPLES).exists()
        origins = ("both" if pooled else "log") if len(logged.displays) else "timelines"
    examples = read_examples(workspace) if origins != "log" else None
    timelines = all_timelines(workspace, items, logged.tracked)
    if origins == "timelines":
        return timelines, examples, None
    return timelines, examples, Log(matured(logged.displays, label, wait_minutes, attribution), logged.tracked)


def read_examples(workspace: Workspace) -> pa.Table:
    """examples.parquet of the workspace, in EXAMPLE_SCHEMA.

    Raises:
        RankerError: it is not there, or has other columns.
    """
    path = workspace.root / EXAMPLES
    if not path.exists():
        raise RankerError(f"{path} is missing; `tandem candidates pool` writes it from the timelines")
    return read_in_schema(path, EXAMPLE_SCHEMA, "a Parquet file of examples", "examples", RankerError)


def all_timelines(workspace: Workspace, items: ItemTable, tracked: pa.Table) -> Timelines:
    """Of the workspace's events and the tracked ones, an event with the same id once."""
    events = load_events(workspace)
    return Timelines.of(first_of_each(pa.concat_tables([events, tracked.cast(events.schema)]), "event_id"), items)
