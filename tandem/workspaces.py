"""A workspace from Python: read its events, make a user-item matrix of them, train a bundle, measure an experiment."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from candidates.new_items.addition import CatalogRequest
from candidates.new_items.addition import update_catalog as change
from candidates.protocols.interactions import Interactions
from data.errors import DataError
from data.tables import load_catalog, load_events
from data.workspace import Workspace
from gateway.experiment.planning import Planned, plan_of
from gateway.experiment.reports import report_of as report
from gateway.experiment.statistics.power import POWER
from pipeline.carrying import keep_ranker_of
from pipeline.settings import TrainingPlan
from pipeline.training import train_bundle
from tandem.bundle import Bundle

__all__ = ["interactions", "plan", "read_catalog", "read_events", "report", "train", "update_catalog"]


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


def update_catalog(
    workspace: Workspace | Path | str,
    catalog: Any,
    *,
    events: Path | str | None = None,
    retire_missing: bool = False,
    skip_bad: int = 0,
    allow: bool = False,
) -> dict[str, int]:
    """Change prices, titles, categories and availability, add and retire items, as `tandem catalog update` does.

    The changes are in service in a new bundle with both stages; nothing is trained.

    Args:
        catalog: a file, or a pyarrow Table, a pandas DataFrame or a mapping of columns; a column that it lacks stays as
            it is.
        events: a file of events since, in Tandem's layout.
        retire_missing: the catalog is whole: items that it lacks are no longer proposed.
        skip_bad: so many rows at most may name another merchant than their item has; they are left out.
        allow: go on even if far fewer items would be left.

    Returns:
        How many rows of the catalog: added, changed, retired, returned, unchanged, refused; and missing ones.

    Raises:
        TandemError: what is wrong with a file, and where; then nothing has changed.
    """
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        file = Path(catalog) if isinstance(catalog, (str, Path)) else Path(folder) / "catalog.parquet"
        if not isinstance(catalog, (str, Path)):
            pq.write_table(_table(catalog), file)
        told = None if events is None else Path(events)
        request = CatalogRequest(file, told, retire_missing=retire_missing, skip_bad=skip_bad, allow=allow)
        counts: dict[str, int] = change(_workspace(workspace), request, carry=keep_ranker_of)[1]["changes"]
    return counts


def _table(given: Any) -> pa.Table:
    if isinstance(given, pa.Table):
        return given
    if hasattr(given, "to_dict") and hasattr(given, "columns"):
        return pa.Table.from_pandas(given, preserve_index=False)
    return pa.table(given)


def train(workspace: Workspace | Path | str, plan: TrainingPlan | None = None, *, allow: bool = False) -> Bundle:
    """Train both stages on a workspace's events and put the bundle into service, as `tandem train` does.

    The workspace keeps the plan for its next training.

    Args:
        plan: by default what the workspace keeps from its last `tandem train`.
        allow: put the bundle into service even if it is poorer than the one there: a source, a country, a merchant or
            many items less.

    Raises:
        TandemError: no events, or too few to learn from; or the bundle would be poorer.
    """
    place = _workspace(workspace)
    plan = plan or TrainingPlan.of(place)
    trained = train_bundle(place, plan, allow=allow)
    plan.keep(place)
    return Bundle.open(trained.path)


def plan(workspace: Workspace | Path | str, uplift: float, power: float = POWER, **chosen: Any) -> tuple[Planned, ...]:
    """Users and days that a running test needs to show an uplift, by metric, as `tandem plan` says.

    Args:
        uplift: as a fraction: 0.05. power: in how many tests of 1 it should be seen.
        chosen: of the arguments of `tandem.report`, such as `experiment`.

    Raises:
        ReportError: no display, or one population only.
    """
    return plan_of(report(workspace, **chosen), uplift, power)


def _workspace(place: Workspace | Path | str) -> Workspace:
    return place if isinstance(place, Workspace) else Workspace(place)
