"""A workspace from Python: read its events, make a user-item matrix of them, train a bundle, measure an experiment."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from candidates.protocols.interactions import Interactions
from data.errors import DataError
from data.tables import load_catalog, load_events
from data.workspace import Workspace
from gateway.experiment.reports import report_of as report
from pipeline.settings import TrainingPlan
from pipeline.training import train_bundle
from tandem.bundle import Bundle

__all__ = ["interactions", "read_catalog", "read_events", "report", "train"]


def read_events(workspace: Workspace | Path | str) -> pa.Table:
    """The events of a workspace, oldest first; columns as in docs/data.md. Raises DataError if it holds none."""
    return load_events(_workspace(workspace))


def read_catalog(workspace: Workspace | Path | str) -> pa.Table:
    """The catalog of a workspace; columns as in docs/data.md. Raises DataError if it holds none."""
    return load_catalog(_workspace(workspace))


def interactions(events: Any, user: str = "user_id", item: str = "item_id") -> Interactions:
    """The distinct (user, item) pairs of a table; `.matrix()` is the user-item matrix that models are fitted on.

    Args:
        events: a pyarrow Table, a pandas DataFrame or a mapping of columns.
        user, item: the columns that name users and items.

    Raises:
        DataError: the table lacks one of the two, or an id is missing.
    """
    columns = events.column_names if isinstance(events, pa.Table) else list(events)
    for name in (user, item):
        if name not in columns:
            raise DataError(f"the events have no column {name!r}; expected one of {', '.join(map(str, columns))}")
    users, items = (np.asarray(events[name]) for name in (user, item))
    if users.ndim != 1 or users.shape != items.shape:
        raise DataError(f"columns {user} {users.shape} and {item} {items.shape}; expected an id of each in every row")
    for name, ids in ((user, users), (item, items)):
        missing = pa.array(ids, from_pandas=True).null_count
        if missing:
            raise DataError(f"column {name} has no id in {missing} of {len(ids)} rows; expected one in every row")
    return Interactions.of(users, items)


def train(workspace: Workspace | Path | str, plan: TrainingPlan | None = None) -> Bundle:
    """Train both stages on a workspace's events and put the bundle into service, as `tandem train` does.

    The workspace keeps the plan for its next training.

    Args:
        plan: by default what the workspace keeps from its last `tandem train`.

    Raises:
        TandemError: no events, or too few to learn from.
    """
    place = _workspace(workspace)
    plan = plan or TrainingPlan.of(place)
    trained = train_bundle(place, plan)
    plan.keep(place)
    return Bundle.open(trained.path)


def _workspace(place: Workspace | Path | str) -> Workspace:
    return place if isinstance(place, Workspace) else Workspace(place)
